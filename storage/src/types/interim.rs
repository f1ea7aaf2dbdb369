//! Stands in for the crate's table and block sizes until they land.
#![allow(missing_docs, dead_code, unreachable_pub)]

/// shim
pub const fn good_size(n: usize) -> usize {
    if n == 0 {
        return 0;
    }
    if n <= 8 {
        return 8;
    }
    if n <= 128 {
        return n.div_ceil(16) * 16;
    }
    let w = n.div_ceil(8) - 1;
    let b = usize::BITS as usize - 1 - w.leading_zeros() as usize;
    let step = 1usize << (b - 2);
    ((w / step) + 1) * step * 8
}
use std::collections::BTreeMap;
#[derive(Debug)]
pub struct Layout;
impl Layout {
    pub const PLAIN: Layout = Layout;
}
#[derive(Debug)]
pub struct Table {
    map: BTreeMap<(u64, Vec<u8>), (u8, Vec<u8>)>,
}
pub struct NewEntry<'a> {
    pub tag: u8,
    pub aux: u32,
    pub expiry: Option<i64>,
    pub payload: &'a [u8],
}
#[derive(Clone, Copy)]
pub struct EntryRef<'a> {
    k: &'a [u8],
    t: u8,
    p: &'a [u8],
}
impl<'a> EntryRef<'a> {
    pub fn key(&self) -> &'a [u8] {
        self.k
    }
    pub fn tag(&self) -> u8 {
        self.t
    }
    pub fn payload(&self) -> &'a [u8] {
        self.p
    }
}
pub fn hash_key(key: &[u8]) -> u64 {
    use std::hash::{BuildHasher, Hasher};
    let mut h = ahash::RandomState::with_seeds(1, 2, 3, 4).build_hasher();
    h.write(key);
    h.finish()
}
impl Table {
    pub const fn new(_: Layout) -> Table {
        Table { map: BTreeMap::new() }
    }
    pub fn len(&self) -> usize {
        self.map.len()
    }
    pub fn heap_bytes(&self) -> usize {
        0
    }
    pub fn heap_bytes_walked(&self) -> usize {
        0
    }
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_>> {
        self.map.get_key_value(&(hash, key.to_vec())).map(|(k, (t, p))| EntryRef {
            k: &k.1,
            t: *t,
            p,
        })
    }
    pub fn upsert(&mut self, hash: u64, key: &[u8], e: NewEntry<'_>) -> bool {
        let _ = (e.aux, e.expiry);
        self.map.insert((hash, key.to_vec()), (e.tag, e.payload.to_vec())).is_none()
    }
    pub fn remove<R>(
        &mut self,
        hash: u64,
        key: &[u8],
        f: impl FnOnce(EntryRef<'_>) -> R,
    ) -> Option<R> {
        self.map.remove(&(hash, key.to_vec())).map(|(t, p)| f(EntryRef { k: key, t, p: &p }))
    }
    pub fn scan(&self, cursor: u64, count: usize, f: &mut dyn FnMut(EntryRef<'_>)) -> u64 {
        let mut n = 0;
        for ((h, k), (t, p)) in self.map.range((cursor, Vec::new())..) {
            if n >= count {
                return *h;
            }
            f(EntryRef { k, t: *t, p });
            n += 1;
        }
        0
    }
    pub fn sample(&self, random: u64) -> Option<EntryRef<'_>> {
        let (k, (t, p)) =
            self.map.range((random, Vec::new())..).next().or_else(|| self.map.iter().next())?;
        Some(EntryRef { k: &k.1, t: *t, p })
    }
    pub fn iter(&self) -> impl Iterator<Item = EntryRef<'_>> {
        self.map.iter().map(|(k, (t, p))| EntryRef { k: &k.1, t: *t, p })
    }
}
