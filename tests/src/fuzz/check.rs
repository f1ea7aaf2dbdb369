//! What must hold whatever has happened: the account is exact, and each key that is listed can be
//! read and asked for.

use std::io;

use crate::support::{Client, Reply};

/// Databases that commands may have written to.
const DATABASES: u32 = 16;
/// A key that expires before is not compared.
const SOON_MS: i64 = 60_000;
/// Looks at a rewrite that is under way.
const REWRITE_WAITS: usize = 100_000;
/// Looks at a database in which only expired keys are left.
const EXPIRY_WAITS: usize = 20_000;

/// Undoes what commands may have set for all: memory limits, pauses, what expires.
///
/// # Errors
/// When the server does not answer.
pub fn reset(client: &mut Client) -> io::Result<()> {
    for command in [
        &["CLIENT", "UNPAUSE"][..],
        &["DEBUG", "SET-ACTIVE-EXPIRE", "1"],
        &["CONFIG", "SET", "maxmemory", "0"],
        &["CONFIG", "SET", "maxmemory-policy", "noeviction"],
        &["BALANCER", "RESUME"],
        &["SELECT", "0"],
    ] {
        client.call(command)?;
    }
    Ok(())
}

/// What does not hold, if something does not. The client stays in database 0.
///
/// # Errors
/// When the server does not answer.
pub fn check(client: &mut Client) -> io::Result<Option<String>> {
    let audit = client.call(&["DEBUG", "SLOT-AUDIT"])?;
    for field in ["drift", "slots-with-drift", "shards-drift"] {
        if audit.field(field) != Some(&Reply::Integer(0)) {
            return Ok(Some(format!("the account is not exact: {audit:?}")));
        }
    }
    for db in 0..DATABASES {
        client.call(&["SELECT", &db.to_string()])?;
        let keys = client.call(&["KEYS", "*"])?;
        let Reply::Array(keys) = keys else { return Ok(Some(format!("KEYS is {keys:?}"))) };
        let fault = unreadable(client, &keys)?;
        if let Some(fault) = fault {
            client.call(&["SELECT", "0"])?;
            return Ok(Some(format!("database {db}: {fault}")));
        }
    }
    client.call(&["SELECT", "0"])?;
    Ok(None)
}

/// What the append-only file tells otherwise than the memory, if something is. The client stays in
/// database 0.
///
/// # Errors
/// When the server does not answer.
pub fn check_append_only(client: &mut Client) -> io::Result<Option<String>> {
    for db in 0..DATABASES {
        client.call(&["SELECT", &db.to_string()])?;
        let Reply::Array(keys) = client.call(&["KEYS", "*"])? else { continue };
        for key in keys {
            let Reply::Bulk(key) = key else { continue };
            // What would expire between the two looks.
            let left_ms = client.call(&[&b"PTTL"[..], &key])?;
            if matches!(left_ms, Reply::Integer(0..SOON_MS)) {
                client.call(&[&b"DEL"[..], &key])?;
            }
        }
    }
    client.call(&["SELECT", "0"])?;
    let before = everything(client)?;
    let loaded = load_append_only(client)?;
    if loaded != Reply::Simple("OK".into()) {
        return Ok(Some(format!("the append-only file is not loaded: {loaded:?}")));
    }
    let after = everything(client)?;
    let differs = before.iter().zip(&after).find(|(one, other)| one != other);
    Ok(match differs {
        Some((memory, file)) => Some(format!("{memory:?} in memory is {file:?} in the file")),
        None if before.len() != after.len() => {
            Some(format!("{} keys in memory are {} in the file", before.len(), after.len()))
        }
        None => None,
    })
}

/// Has the server replace all keys by those of its append-only file, when no rewrite is under way.
///
/// # Errors
/// When the server does not answer.
pub fn load_append_only(client: &mut Client) -> io::Result<Reply> {
    let mut tries = 0;
    loop {
        let loaded = client.call(&["DEBUG", "LOADAOF"])?;
        let is_busy = matches!(&loaded, Reply::Error(text)
            if String::from_utf8_lossy(text).contains("rewriting in progress"));
        tries += 1;
        if !is_busy || tries == REWRITE_WAITS {
            return Ok(loaded);
        }
        std::thread::yield_now();
    }
}

/// A key with its database, when it expires, and a signature of its value.
pub type Signature = (u32, Vec<u8>, Reply, Reply);

/// All keys that are there.
///
/// # Errors
/// When the server does not answer.
pub fn everything(client: &mut Client) -> io::Result<Vec<Signature>> {
    let mut all = Vec::new();
    for db in 0..DATABASES {
        client.call(&["SELECT", &db.to_string()])?;
        let Reply::Array(mut keys) = client.call(&["KEYS", "*"])? else { continue };
        keys.sort_by_key(|key| format!("{key:?}"));
        for key in keys {
            let Reply::Bulk(key) = key else { continue };
            let expires = client.call(&[&b"PEXPIRETIME"[..], &key])?;
            let digest = client.call(&[&b"DEBUG"[..], b"DIGEST-VALUE", &key])?;
            all.push((db, key, expires, digest));
        }
    }
    client.call(&["SELECT", "0"])?;
    Ok(all)
}

/// A key of those listed that cannot be read, though it is there.
fn unreadable(client: &mut Client, keys: &[Reply]) -> io::Result<Option<String>> {
    for key in keys {
        let Reply::Bulk(key) = key else { return Ok(Some(format!("a key is {key:?}"))) };
        let mut call = |words: &[&[u8]]| client.call(words);
        let kind = call(&[b"TYPE", key])?;
        let read: &[&[u8]] = match &kind {
            Reply::Simple(kind) => match kind.as_slice() {
                b"string" => &[b"GET", key],
                b"list" => &[b"LRANGE", key, b"0", b"-1"],
                b"hash" => &[b"HGETALL", key],
                b"set" => &[b"SMEMBERS", key],
                b"zset" => &[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"],
                // It has expired since.
                b"none" => &[b"EXISTS", key],
                _ => return Ok(Some(format!("{}: TYPE is {kind:?}", key.escape_ascii()))),
            },
            _ => return Ok(Some(format!("{}: TYPE is {kind:?}", key.escape_ascii()))),
        };
        let value = call(read)?;
        let is_there = match &value {
            Reply::Bulk(_) => true,
            Reply::Integer(exists) => *exists == 0,
            Reply::Array(items) | Reply::Set(items) => !items.is_empty(),
            Reply::Map(pairs) => !pairs.is_empty(),
            _ => false,
        };
        let dumped = call(&[b"DUMP", key])?;
        let exists = call(&[b"EXISTS", key])?;
        // What expires in between is gone for good.
        let is_gone = exists == Reply::Integer(0) && call(&[b"TYPE", key])? == none();
        if !is_gone && (!is_there || !matches!(dumped, Reply::Bulk(_))) {
            let shown = key.escape_ascii();
            let fault = format!("{shown} is listed, its {kind:?} is {value:?}, DUMP {dumped:?}");
            return Ok(Some(fault));
        }
        if is_gone && lists(client, key)? {
            return Ok(Some(format!("{} is listed and is not there", key.escape_ascii())));
        }
    }
    Ok(None)
}

fn none() -> Reply {
    Reply::Simple(b"none".to_vec())
}

/// Whether KEYS still names `key`.
fn lists(client: &mut Client, key: &[u8]) -> io::Result<bool> {
    let keys = client.call(&["KEYS", "*"])?;
    Ok(keys.items().iter().any(|one| matches!(one, Reply::Bulk(name) if name == key)))
}

/// Deletes all listed keys one by one, after which none may be left.
///
/// # Errors
/// When the server does not answer.
pub fn delete_all(client: &mut Client) -> io::Result<Option<String>> {
    for db in 0..DATABASES {
        client.call(&["SELECT", &db.to_string()])?;
        let keys = client.call(&["KEYS", "*"])?;
        for key in keys.items() {
            if let Reply::Bulk(key) = key {
                client.call(&[&b"DEL"[..], key])?;
            }
        }
        let mut left = client.call(&["DBSIZE"])?;
        // What expired before it was listed goes by itself.
        for _ in 0..EXPIRY_WAITS {
            let listed = client.call(&["KEYS", "*"])?;
            if left == Reply::Integer(0) || !listed.items().is_empty() {
                break;
            }
            std::thread::yield_now();
            left = client.call(&["DBSIZE"])?;
        }
        if left != Reply::Integer(0) {
            return Ok(Some(format!("database {db}: {left:?} after DEL of all of {keys:?}")));
        }
    }
    client.call(&["SELECT", "0"])?;
    Ok(None)
}
