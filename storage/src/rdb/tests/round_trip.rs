//! What is written comes back, whatever it was kept in, and is kept as commands would keep it.

use proptest::prelude::*;

use super::{Key, Keyspace, Limits, Model, kept, model, read, read_model, written};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn what_is_written_comes_back(model in model(), entries in 0usize..300, value in 0usize..80) {
        let limits = Limits {
            hash_listpack_entries_max: entries,
            hash_listpack_value_max: value,
            set_intset_entries_max: entries,
            set_listpack_entries_max: entries,
            set_listpack_value_max: value,
            zset_listpack_entries_max: entries,
            zset_listpack_value_max: value,
            list_listpack_size_max: entries as i64,
        };
        let bytes = kept(model.build(&limits), written);
        prop_assert_eq!(read_model(&bytes), Ok(model.clone()));
        // Again with other limits, from where it is kept now.
        let again = kept(read(&bytes, &limits).expect("as before"), written);
        prop_assert_eq!(read_model(&again), Ok(model));
    }

    #[test]
    fn it_reports_what_a_value_made_by_commands_does(model in model()) {
        let limits = Limits::default();
        let encoding = |value| {
            let mut keyspace = Keyspace::new();
            let key = Key::new(b"key");
            keyspace.insert(&key, value, None, 0);
            keyspace.encoding(&key)
        };
        let bytes = kept(model.build(&limits), written);
        let restored = read(&bytes, &limits).expect("what was written");
        prop_assert_eq!(encoding(restored), encoding(model.build(&limits)));
    }
}

#[test]
fn integers_and_lengths_take_their_shortest_forms() {
    let size = |text: &[u8]| {
        let model = Model::String(text.to_vec());
        kept(model.build(&Limits::default()), written).len() - 1
    };
    assert_eq!([b"127".as_slice(), b"-128", b"128", b"32768"].map(size), [2, 2, 3, 5]);
    assert_eq!(size(b"2147483648"), 11, "more than 32 bits are a text");
    assert_eq!(
        [0, 63, 64, 16_383, 16_384].map(|len| size(&vec![b'x'; len]) - len),
        [1, 1, 2, 2, 5]
    );
}
