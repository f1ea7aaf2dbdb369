//! Effects as the commands of a file: in order, with `SELECT` where the database changes and
//! `MULTI` and `EXEC` around what was done together.

use crate::node::effects::{Followers, Record, records};

/// See the module. Knows what the file has so far.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    /// The database that the file's last command was for.
    database: Option<u8>,
    /// Unix seconds that the file tells.
    told_s: i64,
}

impl Encoder {
    /// For what is appended to a file whose content is not known, or that is empty.
    pub(super) fn new() -> Encoder {
        Encoder::default()
    }

    /// Appends a line that tells the time, if `now_s` is another than before.
    pub(super) fn tell_time(&mut self, now_s: i64, to: &mut Vec<u8>) {
        if now_s != self.told_s {
            self.told_s = now_s;
            to.extend_from_slice(format!("#TS:{now_s}\r\n").as_bytes());
        }
    }

    /// Appends the records of a shard's buffer that are for `follower`.
    pub(super) fn append(&mut self, buffer: &[u8], follower: Followers, to: &mut Vec<u8>) {
        let mut mine = records(buffer).filter(|record| record.followers & follower != 0).peekable();
        while let Some(first) = mine.next() {
            let goes_on = |next: &Record<'_>| first.group != 0 && next.group == first.group;
            if !mine.peek().is_some_and(goes_on) {
                self.put(&first, to);
                continue;
            }
            // Before the group: the file's reader looks for `SELECT` anywhere.
            self.select(first.db, to);
            to.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
            self.put(&first, to);
            while let Some(next) = mine.next_if(goes_on) {
                self.put(&next, to);
            }
            to.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }

    fn put(&mut self, record: &Record<'_>, to: &mut Vec<u8>) {
        self.select(record.db, to);
        to.extend_from_slice(record.command);
    }

    fn select(&mut self, database: u8, to: &mut Vec<u8>) {
        if self.database != Some(database) {
            self.database = Some(database);
            let text = database.to_string();
            let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{text}\r\n", text.len());
            to.extend_from_slice(select.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::effects::{FILE, record};

    #[test]
    fn groups_are_transactions_and_databases_are_selected() {
        let mut buffer = Vec::new();
        for (db, followers, group, word) in [
            (0, FILE, 1, "A"),
            (0, FILE, 2, "B"),
            (0, 2, 2, "OTHER"),
            (3, FILE, 2, "C"),
            (3, FILE, 0, "D"),
            (3, FILE, 0, "E"),
        ] {
            record(&mut buffer, (1, db), followers, group, [word.as_bytes()].into_iter());
        }
        let mut out = Vec::new();
        let mut encoder = Encoder::new();
        encoder.tell_time(7, &mut out);
        encoder.append(&buffer, FILE, &mut out);
        encoder.tell_time(7, &mut out);
        let words: Vec<&str> = std::str::from_utf8(&out)
            .unwrap()
            .split("\r\n")
            .filter(|line| !line.starts_with(['$', '*']) && !line.is_empty())
            .collect();
        let wanted =
            ["#TS:7", "SELECT", "0", "A", "MULTI", "B", "SELECT", "3", "C", "EXEC", "D", "E"];
        assert_eq!(words, wanted);
    }
}
