//! The command line: `ballast [file] [--directive value …] [-]`.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::load::{Loader, absolute, read_file};
use super::{Config, arguments, reference};

/// What the command line asks for.
#[derive(Debug)]
pub enum Startup {
    /// Start a server.
    Run(
        /// With this configuration.
        Box<Config>,
    ),
    /// Print this help and end.
    Help(String),
    /// Print the version and end.
    Version,
}

impl Startup {
    /// Understands the arguments after the program's name. A `-` at the end reads more lines
    /// from `input`.
    ///
    /// # Errors
    /// A file that cannot be read, or a line or flag that is not valid.
    pub fn parse<A: AsRef<str>>(
        arguments: &[A],
        input: &mut dyn Read,
    ) -> Result<Startup, ConfigError> {
        let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        match arguments[..] {
            ["-h" | "--help"] => return Ok(Startup::Help(reference::help())),
            ["-v" | "--version"] => return Ok(Startup::Version),
            _ => {}
        }
        let command_line = CommandLine::parse(&arguments);
        let file = command_line.file.map(|file| absolute(Path::new(file)));
        let mut text = match &file {
            Some(path) => read_file(path)?,
            None => Vec::new(),
        };
        if command_line.reads_input {
            text.push(b'\n');
            let limited = &mut input.take(INPUT_BYTES_MAX);
            let error = |error| ConfigError::Open { path: PathBuf::from("-"), error };
            limited.read_to_end(&mut text).map_err(error)?;
        }
        if !command_line.flags.is_empty() {
            text.push(b'\n');
            text.extend_from_slice(command_line.flags.as_bytes());
        }
        let mut config = Config::default();
        let mut loader = Loader::new(&mut config);
        loader.load(&text, None)?;
        loader.finish()?;
        config.file = file;
        config.make_dir_absolute();
        Ok(Startup::Run(Box::new(config)))
    }
}

impl Config {
    /// The configuration that arguments after the program's name ask for, without `--help`,
    /// `--version` and standard input: what an embedding program and tests want.
    ///
    /// # Errors
    /// A file that cannot be read, or a line or flag that is not valid.
    pub fn from_args<A: AsRef<str>>(arguments: &[A]) -> Result<Config, ConfigError> {
        match Startup::parse(arguments, &mut std::io::empty())? {
            Startup::Run(config) => Ok(*config),
            Startup::Help(_) | Startup::Version => {
                Err(ConfigError::Usage("--help and --version do not start a server".into()))
            }
        }
    }

    /// The configuration that a file's text asks for.
    ///
    /// # Errors
    /// A line that is not valid, or an included file that cannot be read.
    pub fn from_text(text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        let mut loader = Loader::new(&mut config);
        loader.load(text.as_bytes(), None)?;
        loader.finish()?;
        Ok(config)
    }

    /// CONFIG GET shows the working directory as an absolute path, as Redis does.
    fn make_dir_absolute(&mut self) {
        let dir = absolute(&self.dir);
        if let (Some(id), Some(text)) = (super::directive::find_id("dir"), dir.to_str()) {
            self.store(id, super::Value::Text(text.to_owned()));
        }
    }
}

/// More than this is not read from standard input.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// The arguments, taken apart.
#[derive(Debug, Default, PartialEq)]
struct CommandLine<'a> {
    file: Option<&'a str>,
    /// The flags as lines of a configuration file.
    flags: String,
    reads_input: bool,
}

impl<'a> CommandLine<'a> {
    /// A first argument without dash is the file, a last `-` is standard input, and the words
    /// between are flags: a word with two dashes starts one, unless the flag before it has no
    /// value yet. `--save` alone means no save points.
    fn parse(arguments: &[&'a str]) -> CommandLine<'a> {
        let mut parsed = CommandLine::default();
        let mut rest = arguments;
        if let [file, tail @ ..] = rest
            && !file.starts_with('-')
        {
            parsed.file = Some(file);
            rest = tail;
        }
        if let [head @ .., "-"] = rest {
            parsed.reads_input = true;
            rest = head;
        }
        let mut wants_value = false;
        for (place, word) in rest.iter().enumerate() {
            match word.strip_prefix("--") {
                Some(name) if !wants_value => {
                    if !parsed.flags.is_empty() {
                        parsed.flags.push('\n');
                    }
                    parsed.flags.push_str(&one_line(name));
                    let has_value = name.split_ascii_whitespace().nth(1).is_some();
                    let next_is_flag =
                        rest.get(place + 1).is_none_or(|next| next.starts_with("--"));
                    wants_value = !has_value;
                    if name.eq_ignore_ascii_case("save") && next_is_flag {
                        parsed.flags.push_str(" \"\"");
                        wants_value = false;
                    }
                }
                _ => {
                    let gap = if parsed.flags.is_empty() { "" } else { " " };
                    parsed.flags.push_str(gap);
                    parsed.flags.push_str(&arguments::quote_always(word));
                    wants_value = false;
                }
            }
        }
        parsed
    }
}

/// A flag's name must not bring lines of its own.
fn one_line(name: &str) -> String {
    name.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_lines() {
        let line = |arguments: &[&str]| CommandLine::parse(arguments).flags;
        assert_eq!(line(&["--port", "7000", "--hz", "20"]), "port \"7000\"\nhz \"20\"");
        assert_eq!(line(&["--save", "", "--hz", "20"]), "save \"\"\nhz \"20\"");
        assert_eq!(line(&["--save", "--hz", "20"]), "save \"\"\nhz \"20\"");
        assert_eq!(line(&["--loglevel", "verbose", "--save"]), "loglevel \"verbose\"\nsave \"\"");
        assert_eq!(line(&["--maxmemory", "--port", "1"]), "maxmemory \"--port\" \"1\"");
        assert_eq!(line(&["--hz 20", "--timeout", "3"]), "hz 20\ntimeout \"3\"");
        assert_eq!(line(&["-hz", "20"]), "\"-hz\" \"20\"");
    }

    #[test]
    fn the_file_comes_first_and_standard_input_last() {
        let parsed = CommandLine::parse(&["a.conf", "--hz", "1", "-"]);
        assert_eq!((parsed.file, parsed.reads_input), (Some("a.conf"), true));
        assert_eq!(parsed.flags, "hz \"1\"");
        assert_eq!(CommandLine::parse(&["-"]).file, None);
        assert!(CommandLine::parse(&["-"]).reads_input);
    }
}
