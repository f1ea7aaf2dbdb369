//! The terminal: an alternate screen that is given back, whatever happens.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::picture::{Line, Style};

/// If it cannot be told.
const COLUMNS: usize = 80;
const ROWS: usize = 24;

const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[2J";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const REST_OF_SCREEN: &str = "\x1b[J";
const PLAIN: &str = "\x1b[0m";

/// Whether colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colours {
    On,
    Off,
}

impl Colours {
    /// Off where `NO_COLOR` is set to anything (no-color.org) or the terminal is a dumb one.
    pub(super) fn wanted() -> Colours {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let dumb = set("TERM").is_none_or(|term| term == "dumb");
        if dumb || set("NO_COLOR").is_some() { Colours::Off } else { Colours::On }
    }
}

/// The screen while it is ours.
#[derive(Debug)]
pub(super) struct Screen {
    colours: Colours,
}

impl Screen {
    pub(super) fn enter(colours: Colours) -> io::Result<Screen> {
        let mut output = io::stdout().lock();
        output.write_all(ENTER.as_bytes())?;
        output.flush()?;
        Ok(Screen { colours })
    }

    /// Columns and rows.
    pub(super) fn size() -> (usize, usize) {
        terminal_size::terminal_size()
            .map_or((COLUMNS, ROWS), |(width, height)| (width.0.into(), height.0.into()))
    }

    /// Shows the lines in one write, so that it does not flicker.
    pub(super) fn show(&self, lines: &[Line]) -> io::Result<()> {
        let mut output = io::stdout().lock();
        output.write_all(painted(lines, self.colours).as_bytes())?;
        output.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut output = io::stdout().lock();
        // A terminal that is gone needs no restoring.
        let _ = output.write_all(LEAVE.as_bytes());
        let _ = output.flush();
    }
}

fn painted(lines: &[Line], colours: Colours) -> String {
    let mut text = String::from(HOME);
    for (at, line) in lines.iter().enumerate() {
        if at > 0 {
            text.push_str("\r\n");
        }
        for (style, piece) in &line.pieces {
            match colour(*style) {
                Some(code) if colours == Colours::On => {
                    // Writing to a string cannot fail.
                    let _ = write!(text, "\x1b[{code}m{piece}{PLAIN}");
                }
                _ => text.push_str(piece),
            }
        }
        text.push_str(END_OF_LINE);
    }
    text.push_str(REST_OF_SCREEN);
    text
}

/// The number of "select graphic rendition".
fn colour(style: Style) -> Option<u8> {
    match style {
        Style::Usual => None,
        Style::Strong => Some(1),
        Style::Faint => Some(90),
        Style::Good => Some(32),
        Style::Warm => Some(33),
        Style::Hot => Some(31),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colours_only_the_cursor_is_moved() {
        let pieces = vec![(Style::Hot, "full".to_owned()), (Style::Usual, " 1".to_owned())];
        let lines = [Line { pieces }];
        assert_eq!(painted(&lines, Colours::Off), "\x1b[Hfull 1\x1b[K\x1b[J");
        assert_eq!(painted(&lines, Colours::On), "\x1b[H\x1b[31mfull\x1b[0m 1\x1b[K\x1b[J");
    }
}
