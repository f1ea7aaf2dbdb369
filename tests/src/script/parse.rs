//! A script file into blocks, and back into text.

use std::fmt::Write as _;

use super::split_words;

/// A parsed script.
#[derive(Clone, Debug)]
pub struct Script {
    /// The comments and options of the first paragraph, as written.
    pub header: Vec<String>,
    /// Every connection begins with `HELLO 3`.
    pub resp3: bool,
    /// Further arguments of the server's command line.
    pub args: Vec<String>,
    /// Those that only Redis needs to answer the same.
    pub redis_args: Vec<String>,
    /// Why Redis is not asked at all.
    pub skip_redis: Option<String>,
    /// The blocks in order.
    pub blocks: Vec<Block>,
}

/// Commands and the replies they must have.
#[derive(Clone, Debug)]
pub struct Block {
    /// The line of its first command, from 1.
    pub line: usize,
    /// Comments, options and commands, as written.
    pub source: Vec<String>,
    /// The parsed commands.
    pub steps: Vec<Step>,
    /// The rendered replies; `None` before they were recorded.
    pub expected: Option<Vec<String>>,
    /// Aggregates are sorted before comparison.
    pub unordered: bool,
    /// Why Redis is not asked.
    pub skip_redis: Option<String>,
    /// The deliberate difference because of which Ballast is not asked.
    pub skip_ballast: Option<String>,
}

/// One line of commands.
#[derive(Clone, Debug)]
pub struct Step {
    /// The connection, 1 unless named.
    pub connection: usize,
    /// How often, with `$i` counting from 1.
    pub repeat: usize,
    /// What to do.
    pub action: Action,
}

/// What a step does on its connection.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a command and read its reply.
    Call(Vec<Vec<u8>>),
    /// Send a command.
    Send(Vec<Vec<u8>>),
    /// Read one reply.
    Read,
    /// Send bytes and read one reply.
    Raw(Vec<u8>),
    /// Wait until `INFO` counts so many blocked clients.
    AwaitBlocked(usize),
}

impl Script {
    /// Parses the text of a script file.
    ///
    /// # Errors
    /// The line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Script, String> {
        let mut script = Script {
            header: Vec::new(),
            resp3: false,
            args: Vec::new(),
            redis_args: Vec::new(),
            skip_redis: None,
            blocks: Vec::new(),
        };
        let lines: Vec<&str> = text.lines().collect();
        let mut at = 0;
        while at < lines.len() {
            let len = lines[at..].iter().position(|line| line.is_empty());
            let end = at + len.unwrap_or(lines.len() - at);
            let paragraph = &lines[at..end];
            if paragraph.iter().all(|line| line.starts_with(['#', '@'])) {
                if !paragraph.is_empty() {
                    script.parse_header(paragraph).map_err(|why| format!("{}: {why}", at + 1))?;
                }
            } else {
                script.blocks.push(Block::parse(paragraph, at + 1)?);
            }
            at = end + 1;
        }
        Ok(script)
    }

    fn parse_header(&mut self, paragraph: &[&str]) -> Result<(), String> {
        if !self.blocks.is_empty() || !self.header.is_empty() {
            return Err("a paragraph without commands is only possible at the top".to_owned());
        }
        for line in paragraph {
            self.header.push((*line).to_owned());
            match line.split_once(' ').unwrap_or((line, "")) {
                ("@resp3", "") => self.resp3 = true,
                ("@args", args) => self.args = args.split(' ').map(str::to_owned).collect(),
                ("@redis-args", args) => {
                    self.redis_args = args.split(' ').map(str::to_owned).collect();
                }
                ("@skip-redis", reason) if !reason.is_empty() => {
                    self.skip_redis = Some(reason.to_owned());
                }
                _ if line.starts_with('#') => {}
                _ => return Err(format!("unknown option of a file: {line}")),
            }
        }
        Ok(())
    }

    /// [`Script::args`] as they are passed on.
    pub fn arg_strs(&self) -> Vec<&str> {
        self.args.iter().map(String::as_str).collect()
    }

    /// How many commands it sends, repetitions not counted.
    pub fn commands_len(&self) -> usize {
        let steps = self.blocks.iter().flat_map(|block| &block.steps);
        steps.filter(|step| !matches!(step.action, Action::Read | Action::AwaitBlocked(_))).count()
    }

    /// The script as text, with the expectations it now has.
    pub fn text(&self) -> String {
        let mut paragraphs = Vec::new();
        if !self.header.is_empty() {
            paragraphs.push(self.header.join("\n"));
        }
        for block in &self.blocks {
            let mut text = block.source.join("\n");
            if let Some(expected) = &block.expected {
                write!(text, "\n---\n{}", expected.join("\n")).expect("a String takes all");
            }
            paragraphs.push(text);
        }
        paragraphs.join("\n\n") + "\n"
    }
}

impl Block {
    fn parse(paragraph: &[&str], first_line: usize) -> Result<Block, String> {
        let split = paragraph.iter().position(|line| *line == "---");
        let source = &paragraph[..split.unwrap_or(paragraph.len())];
        let expected =
            split.map(|at| paragraph[at + 1..].iter().map(|line| (*line).to_owned()).collect());
        let mut block = Block {
            line: first_line,
            source: source.iter().map(|line| (*line).to_owned()).collect(),
            steps: Vec::new(),
            expected,
            unordered: false,
            skip_redis: None,
            skip_ballast: None,
        };
        for (offset, line) in source.iter().enumerate() {
            let at = first_line + offset;
            block.parse_line(line, at).map_err(|why| format!("{at}: {why}: {line}"))?;
        }
        Ok(block)
    }

    /// The lines that are commands, one for each step.
    pub fn commands(&self) -> impl Iterator<Item = &String> {
        self.source.iter().filter(|line| !line.starts_with(['#', '@']))
    }

    fn parse_line(&mut self, line: &str, at: usize) -> Result<(), String> {
        if line.starts_with('#') {
            return Ok(());
        }
        if line.starts_with('@') {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("@unordered", "") => self.unordered = true,
                ("@skip-redis", reason) if !reason.is_empty() => {
                    self.skip_redis = Some(reason.to_owned());
                }
                ("@skip-ballast", reason) if !reason.is_empty() => {
                    self.skip_ballast = Some(reason.to_owned());
                }
                _ => return Err("unknown option of a block".to_owned()),
            }
            return Ok(());
        }
        if self.steps.is_empty() {
            self.line = at;
        }
        self.steps.push(Step::parse(line)?);
        Ok(())
    }
}

impl Step {
    fn parse(line: &str) -> Result<Step, String> {
        let (connection, rest) = match line.split_once(": ") {
            Some((number, rest)) if number.bytes().all(|byte| byte.is_ascii_digit()) => {
                (number.parse().map_err(|_| "no connection's number")?, rest)
            }
            _ => (1, line),
        };
        let (repeat, rest) = match rest.split_once(' ') {
            Some((times, rest)) if times.len() > 1 && times.starts_with('x') => {
                times[1..].parse().map_or((1, rest), |times| (times, rest))
            }
            _ => (1, rest),
        };
        let action = if rest == "<" {
            Action::Read
        } else if let Some(command) = rest.strip_prefix("& ") {
            Action::Send(split_words(command)?)
        } else if let Some(bytes) = rest.strip_prefix("raw ") {
            Action::Raw(split_words(bytes)?.concat())
        } else if let Some(count) = rest.strip_prefix("await-blocked ") {
            Action::AwaitBlocked(count.parse().map_err(|_| "no count")?)
        } else {
            Action::Call(split_words(rest)?)
        };
        Ok(Step { connection, repeat, action })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_a_parsed_script_is_the_script() {
        let text = "# about\n@resp3\n\n# why\n@unordered\nSET a 1\n2: & BLPOP l 0\n2: <\n---\n\
                    OK\n(nil)\n\nx3 PING\n---\nPONG\n";
        let script = Script::parse(text).expect("a good script");
        assert_eq!(script.text(), text);
        assert!(script.resp3 && script.blocks[0].unordered);
        assert_eq!(script.blocks[0].line, 6);
        assert_eq!(script.blocks[1].steps[0].repeat, 3);
        assert_eq!(script.commands_len(), 3);
    }

    #[test]
    fn what_is_misspelt_is_refused() {
        assert!(Script::parse("@resp4\n\nPING\n").is_err());
        assert!(Script::parse("@unorderd\nPING\n").is_err());
        assert!(Script::parse("GET \"a\n").is_err());
    }
}
