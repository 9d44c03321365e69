//! Files that may be recordings.
#![no_main]

use kaos_fuzz::capture::recording::Reader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Ok(reader) = Reader::new(input) {
        for event in reader {
            if event.is_err() {
                break;
            }
        }
    }
});
