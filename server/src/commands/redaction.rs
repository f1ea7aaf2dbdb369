//! Which arguments of a command are secrets, that neither `MONITOR` nor `SLOWLOG` show.
//!
//! What stands where a password belongs is hidden, also in a call that turns out to be an error.
//! Redis shows it if the error comes before the password (`AUTH user password more`).

use ballast_protocol::Args;
use smallvec::SmallVec;

use super::table::Command;
use crate::config;
pub(crate) use crate::engine::statistics::REDACTED;

/// The positions of a call's secrets.
pub(crate) type Secrets = SmallVec<[usize; 2]>;

/// Finds the secrets among the arguments of a call.
pub(crate) fn secrets(command: &Command, args: Args<'_>) -> Secrets {
    match command.full_name.as_str() {
        "auth" => (1..args.len()).collect(),
        "hello" => hello(args),
        "config|set" => config_set(args),
        _ => Secrets::new(),
    }
}

/// `HELLO version [AUTH user password] [SETNAME name]`.
fn hello(args: Args<'_>) -> Secrets {
    let mut secrets = Secrets::new();
    let mut at = 2;
    while let Some(option) = args.get(at) {
        if option.eq_ignore_ascii_case(b"auth") {
            secrets.extend((at + 1..args.len()).take(2));
            at += 3;
        } else {
            at += 2;
        }
    }
    secrets
}

/// `CONFIG SET directive value [directive value …]`.
fn config_set(args: Args<'_>) -> Secrets {
    let is_secret = |at: &usize| {
        let name = std::str::from_utf8(args.at(at - 1)).ok();
        name.and_then(config::find).is_some_and(|directive| directive.secret)
    };
    (3..args.len()).step_by(2).filter(is_secret).collect()
}

#[cfg(test)]
mod tests {
    use ballast_protocol::ArgsBuf;

    fn hidden(line: &str) -> Vec<usize> {
        let args = ArgsBuf::new(line.split(' '));
        let args = args.view();
        let command = crate::commands::table().find(args.at(0)).expect("a command");
        let sub = args.get(1).and_then(|name| command.subcommand(name));
        super::secrets(sub.unwrap_or(command), args).to_vec()
    }

    #[test]
    fn passwords_are_found_wherever_a_command_takes_them() {
        assert_eq!(hidden("AUTH secret"), [1]);
        assert_eq!(hidden("auth user secret"), [1, 2]);
        assert_eq!(hidden("auth user secret more"), [1, 2, 3]);
        assert_eq!(hidden("HELLO 3 AUTH user secret SETNAME auth"), [3, 4]);
        assert_eq!(hidden("HELLO 3 SETNAME auth AUTH user"), [5]);
        assert_eq!(hidden("HELLO"), []);
        assert_eq!(hidden("CONFIG SET requirepass secret port 1 masterauth x"), [3, 7]);
        assert_eq!(hidden("CONFIG SET requirepass"), []);
        assert_eq!(hidden("CONFIG GET requirepass x"), []);
        assert_eq!(hidden("SET auth secret"), []);
    }
}
