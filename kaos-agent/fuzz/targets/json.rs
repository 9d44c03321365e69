//! JSON: however it is cut, the same is told; gaps do no harm.
#![no_main]

use kaos_fuzz::choice;
use kaos_fuzz::exchanges::json::{
    Container, Documents, Inside, Path, Reader, Value, Visitor, Want,
};
use libfuzzer_sys::fuzz_target;

#[derive(Default, PartialEq, Debug)]
struct Told {
    lines: Vec<String>,
    pieces: Vec<u8>,
}

impl Visitor for Told {
    fn begin(&mut self, path: &Path, container: Container) -> Inside {
        self.lines.push(format!("{} {container:?}", path.as_str()));
        if path.as_str().ends_with('s') {
            Inside::Skip
        } else {
            Inside::Enter
        }
    }

    fn end(&mut self, path: &Path, container: Container) {
        self.lines
            .push(format!("{} end {container:?}", path.as_str()));
    }

    fn want(&mut self, path: &Path) -> Want {
        if path.as_str().ends_with('p') {
            Want::Pieces
        } else {
            Want::Value
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        self.lines
            .push(format!("{} {:?} {value:?}", path.as_str(), path.indices()));
    }

    fn piece(&mut self, _path: &Path, bytes: &[u8]) {
        self.pieces.extend_from_slice(bytes);
    }
}

fn told(documents: Documents, pieces: &[&[u8]], gap: bool) -> Told {
    let mut reader = Reader::new(documents);
    let mut told = Told::default();
    for (number, piece) in pieces.iter().enumerate() {
        if gap && number == 1 {
            reader.gap();
        }
        reader.push(piece, &mut told);
    }
    reader.finish(true, &mut told);
    told
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, length, document)) = choice(input, 3) else {
        return;
    };
    let documents = if kind == 2 {
        Documents::Lines
    } else {
        Documents::One
    };
    let pieces: Vec<&[u8]> = document.chunks(length).collect();
    if kind == 0 {
        told(documents, &pieces, true);
    } else {
        assert_eq!(
            told(documents, &[document], false),
            told(documents, &pieces, false)
        );
    }
});
