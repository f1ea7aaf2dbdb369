//! What the program does besides serving: sub-commands, each named by the first argument.

pub mod demo;

use std::process::ExitCode;

use clap::Parser;

/// The lines about sub-commands that `ballast --help` ends with.
pub const HELP: &str = "\
Sub-commands (`ballast <name> --help` shows their flags):
  demo    fills a server in this process unevenly and shows how it levels itself";

/// Runs the sub-command that the arguments after the program's name begin with. `None` if they
/// begin with none: then they are a configuration file and directives. A file of such a name is
/// given with its folder (`./demo`).
#[must_use]
pub fn run(arguments: &[String]) -> Option<ExitCode> {
    match arguments.first()?.as_str() {
        "demo" => Some(demo(arguments)),
        _ => None,
    }
}

fn demo(arguments: &[String]) -> ExitCode {
    let options = match demo::Options::try_parse_from(arguments) {
        Ok(options) => options,
        Err(error) => {
            // Nobody can be told that telling failed.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(1));
        }
    };
    match demo::run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
