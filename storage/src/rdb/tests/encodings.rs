//! Every encoding that Redis has ever had is read as the value it stands for.

use proptest::prelude::*;

use super::build::ENCODERS;
use super::{Model, model, read_model};

/// Values so that every encoder has its turn.
fn models() -> Vec<Model> {
    let texts = |len: usize| (0..len).map(move |n| text(n * n * 7919, n));
    let integers = |len: i64, step: i64| (0..len).map(move |n| ((n - len / 2) * step).to_string());
    let set = |members: &mut dyn Iterator<Item = String>| {
        Model::Set(members.map(String::into_bytes).collect())
    };
    let mut models = Vec::new();
    for len in [1, 5, 253, 254, 300, 70_000] {
        models.push(Model::List(texts(len).collect()));
        models.push(Model::Hash(texts(len).zip(texts(len + 3).skip(3)).collect()));
        models
            .push(Model::ZSet(texts(len).zip((0..len).map(|n| (n as f64 - 7.0) * 0.75)).collect()));
        models.push(Model::Set(texts(len).collect()));
    }
    for step in [1, 100, 20_000_000, 1 << 50] {
        models.push(set(&mut integers(600, step)));
    }
    let [a, b] = ["a", "b"].map(|letter| letter.repeat(20_000).into_bytes());
    models.push(Model::List(vec![a.clone(), b.clone()]));
    models.push(Model::Hash([(a, b)].into()));
    let edges = [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE, 5e-324, 0.1];
    let named = edges.into_iter().map(|score| (score.to_string().into_bytes(), score));
    models.push(Model::ZSet(named.collect()));
    models
}

fn text(number: usize, index: usize) -> Vec<u8> {
    match index % 5 {
        0 => format!("{number}").into_bytes(),
        1 => format!("-{}", number + 1).into_bytes(),
        2 => format!("{number:0>300}").into_bytes(),
        3 => format!("{number:x>64}").into_bytes(),
        _ => format!("text {number}").into_bytes(),
    }
}

#[test]
fn every_encoding_is_read() {
    let models = models();
    for (name, encode) in ENCODERS {
        let mut tried = 0;
        for model in &models {
            if let Some(bytes) = encode(model) {
                assert_eq!(read_model(&bytes).as_ref(), Ok(model), "{name}");
                tried += 1;
            }
        }
        assert!(tried > 0, "{name} was not tried");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_value_is_read_from_every_encoding(model in model()) {
        for (name, encode) in ENCODERS {
            if let Some(bytes) = encode(&model) {
                let read = read_model(&bytes);
                prop_assert_eq!(read.as_ref(), Ok(&model), "{}", name);
            }
        }
    }
}
