//! Properties of requests and replies for arbitrary input, with the checks of the fuzz target.

mod checks;

use ballast_protocol::{Protocol, Reply};
use proptest::collection::vec;
use proptest::prelude::*;

/// A pipeline as a client would send it.
fn pipeline() -> impl Strategy<Value = Vec<Vec<Vec<u8>>>> {
    vec(vec(vec(any::<u8>(), 0..40), 1..6), 0..6)
}

fn encode(requests: &[Vec<Vec<u8>>]) -> Vec<u8> {
    let mut encoded = Reply::new(Protocol::Resp2);
    for request in requests {
        encoded.array(request.len());
        request.iter().for_each(|arg| encoded.bulk(arg));
    }
    encoded.take()
}

proptest! {
    #[test]
    fn a_pipeline_may_be_split_anywhere(knob: u8, requests in pipeline()) {
        let input = [&[knob][..], &encode(&requests)].concat();
        checks::check(&input);
    }

    #[test]
    fn a_damaged_pipeline_does_no_harm(
        knob: u8,
        requests in pipeline(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut input = [&[knob][..], &encode(&requests)].concat();
        for (at, byte) in damage {
            let at = at.index(input.len());
            input[at] = byte;
        }
        checks::check(&input);
    }

    #[test]
    fn garbage_does_no_harm(input in vec(any::<u8>(), 0..200)) {
        checks::check(&input);
    }

    #[test]
    fn garbage_of_meaningful_bytes_does_no_harm(input in "[*$0-9\\r\\n \"'\\\\xa:-]{0,80}") {
        checks::check(input.as_bytes());
    }
}
