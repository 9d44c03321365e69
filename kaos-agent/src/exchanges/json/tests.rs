use std::fmt::Write;

use proptest::prelude::*;

use super::*;

/// Writes down what it is told; texts below `pieces` in pieces, nothing of `skip`.
#[derive(Default)]
struct Told {
    lines: Vec<String>,
    piece: Vec<u8>,
}

impl Visitor for Told {
    fn begin(&mut self, path: &Path, container: Container) -> Inside {
        let path = path.as_str();
        if path.ends_with("skip") {
            return Inside::Skip;
        }
        let bracket = if container == Container::Object {
            '{'
        } else {
            '['
        };
        self.lines.push(format!("{path} {bracket}"));
        Inside::Enter
    }

    fn end(&mut self, path: &Path, container: Container) {
        let bracket = if container == Container::Object {
            '}'
        } else {
            ']'
        };
        self.lines.push(format!("{} {bracket}", path.as_str()));
    }

    fn want(&mut self, path: &Path) -> Want {
        match path.as_str() {
            "pieces" => Want::Pieces,
            path if path.ends_with("skip") => Want::Skip,
            _ => Want::Value,
        }
    }

    fn value(&mut self, path: &Path, value: Value<'_>) {
        let mut line = path.as_str().to_owned();
        for index in path.indices() {
            let _ = write!(line, " {index}");
        }
        let _ = write!(line, " = {value:?}");
        self.lines.push(line);
    }

    fn piece(&mut self, _path: &Path, bytes: &[u8]) {
        self.piece.extend_from_slice(bytes);
    }

    fn end_of_text(&mut self, path: &Path) {
        let piece = String::from_utf8_lossy(&self.piece).into_owned();
        self.lines
            .push(format!("{} = pieces {piece:?}", path.as_str()));
        self.piece.clear();
    }
}

fn told_of(documents: Documents, pieces: &[&[u8]]) -> Vec<String> {
    let mut reader = Reader::new(documents);
    let mut told = Told::default();
    for piece in pieces {
        reader.push(piece, &mut told);
    }
    reader.finish(true, &mut told);
    told.lines
}

/// Values alone.
fn values(document: &str) -> Vec<String> {
    let mut lines = told_of(Documents::One, &[document.as_bytes()]);
    lines.retain(|line| line.contains('='));
    lines
}

/// Values after a gap.
fn values_after(before: &str, after: &str, is_whole: bool) -> Vec<String> {
    let mut reader = Reader::new(Documents::One);
    let mut told = Told::default();
    reader.push(before.as_bytes(), &mut told);
    reader.gap();
    told.lines.clear();
    reader.push(after.as_bytes(), &mut told);
    reader.finish(is_whole, &mut told);
    told.lines.retain(|line| line.contains('='));
    told.lines
}

#[test]
fn everything_has_its_path() {
    let document = r#" {"a": [1, {"b": "x", "c.d": null}, [true]], "e": {"f": {}}, "": -1.5e3} "#;
    assert_eq!(
        told_of(Documents::One, &[document.as_bytes()]),
        [
            " {",
            "a [",
            "a[] 0 = Number(\"1\")",
            "a[] {",
            "a[].b 1 = Text(\"x\")",
            "a[]['c.d'] 1 = Null",
            "a[] }",
            "a[] [",
            "a[][] 2 0 = Bool(true)",
            "a[] ]",
            "a ]",
            "e {",
            "e.f {",
            "e.f }",
            "e }",
            "[''] = Number(\"-1.5e3\")",
            " }",
        ]
    );
}

#[test]
fn texts_are_unescaped() {
    for (json, text) in [
        (r#"plain"#, "plain"),
        (r#"\"\\\/\b\f\n\r\t"#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#"\u00e9\u20AC"#, "é€"),
        (r#"\ud83d\ude00"#, "😀"),
        (r#"\ud83dx"#, "\u{fffd}x"),
        (r#"\ud83d"#, "\u{fffd}"),
        (r#"\ud83d\n"#, "\u{fffd}\n"),
        (r#"\ud83d\ud83d\ude00"#, "\u{fffd}😀"),
        (r#"\ude00"#, "\u{fffd}"),
        (r#"\u12x"#, "\u{fffd}x"),
        (r#"\x"#, "x"),
        ("raw\nline", "raw\nline"),
    ] {
        let document = format!("\"{json}\"");
        let expected = format!(" = {:?}", Value::Text(text));
        assert_eq!(values(&document), [expected], "{json}");
    }
    assert_eq!(
        told_of(Documents::One, &[b"\"a\xff\xe2\x82b\""]),
        [" = Text(\"a\u{fffd}\u{fffd}b\")"]
    );
}

#[test]
fn long_texts_and_keys_are_cut() {
    let long = "é".repeat(MOST_TEXT);
    let kept = "é".repeat(MOST_TEXT / 2);
    let key = "k".repeat(MOST_KEY);
    let document = format!(
        r#"{{"{key}": "x{long}", "{key}k": 1, "n": {} }}"#,
        "1".repeat(MOST_TEXT + 1)
    );
    let kept = &kept[..kept.len() - 2];
    assert_eq!(
        values(&document),
        [
            format!("{key} = LongText(\"x{kept}\")"),
            "? = Number(\"1\")".to_owned()
        ]
    );
}

#[test]
fn what_is_not_wanted_is_passed_over() {
    let document =
        r#"{"skip": {"a": "}\"]", "b": [[{}]]}, "x": {"skip": "no\""}, "pieces": "a\u0062c"}"#;
    assert_eq!(
        told_of(Documents::One, &[document.as_bytes()]),
        [" {", "x {", "x }", "pieces = pieces \"abc\"", " }"]
    );
}

#[test]
fn tolerates() {
    for (document, expected) in [
        ("\u{feff}{\"a\": 1}", vec!["a = Number(\"1\")"]),
        (
            r#"{"a": NaN, "b": [1,],}"#,
            vec!["a = Number(\"NaN\")", "b[] 0 = Number(\"1\")"],
        ),
        (
            r#"{"a": 1} {"a": 2}"#,
            vec!["a = Number(\"1\")", "a = Number(\"2\")"],
        ),
        (
            r#"{"a": 1, "a": 2}"#,
            vec!["a = Number(\"1\")", "a = Number(\"2\")"],
        ),
        ("17", vec![" = Number(\"17\")"]),
        // What is no JSON ends the reading.
        (r#"{"a": 1, b: 2, "c": 3}"#, vec!["a = Number(\"1\")"]),
        (r#"{"a": 1] "c": 3}"#, vec!["a = Number(\"1\")"]),
        (r#"{"a": 1, "b" 2}"#, vec!["a = Number(\"1\")"]),
        (r#"{"a": 1, "b": "c"#, vec!["a = Number(\"1\")"]),
        ("hello, world", vec![" = Number(\"hello\")"]),
    ] {
        assert_eq!(values(document), expected, "{document}");
    }
}

#[test]
fn what_is_deep_is_passed_over() {
    let deep = 100_000;
    let mut document = String::from(r#"{"a":"#);
    document.push_str(&"[".repeat(deep));
    document.push_str(&"]".repeat(deep));
    document.push_str(r#","b":1}"#);
    assert_eq!(values(&document), ["b = Number(\"1\")"]);
}

#[test]
fn lines_are_documents() {
    let lines = "{\"a\":1}\n\n{\"a\": oh no, \"b\n{\"a\":2}\r\n{\"a\":3";
    let mut told = told_of(Documents::Lines, &[lines.as_bytes()]);
    told.retain(|line| line.contains('='));
    assert_eq!(
        told,
        [
            "a = Number(\"1\")",
            "a = Number(\"oh\")",
            "a = Number(\"2\")",
            "a = Number(\"3\")"
        ]
    );
    let mut reader = Reader::new(Documents::Lines);
    let mut told = Told::default();
    reader.push(b"{\"a\":1", &mut told);
    reader.gap();
    reader.push(b",\"b\":2}\n{\"c\":3}\n", &mut told);
    told.lines.retain(|line| line.contains('='));
    assert_eq!(told.lines, ["c = Number(\"3\")"]);
}

#[test]
fn after_a_gap_the_tail_is_read_from_its_end() {
    let before = r#"{"choices":[{"message":{"content":"so it "#;
    for (after, expected) in [
        // Within a text.
        (
            r#"went, {\"and\": [so\\\" on"},"finish_reason":"stop"}],"usage":{"n":5},"id":"x"} "#,
            vec![
                "?[].finish_reason 0 = Text(\"stop\")",
                "usage.n = Number(\"5\")",
                "id = Text(\"x\")",
            ],
        ),
        // Outside of texts, in the middle of a number.
        (
            r#"5,"b":6}},"c":7}"#,
            vec!["?.?.b = Number(\"6\")", "c = Number(\"7\")"],
        ),
        // At a key: it may as well be a text.
        (r#""a":5,"b":6}"#, vec!["b = Number(\"6\")"]),
        // An object within an array.
        (
            r#"{"role":"user"}],"b":6}"#,
            vec!["?[].role 0 = Text(\"user\")", "b = Number(\"6\")"],
        ),
        // A quote that may be escaped, by a backslash in the gap or here.
        (r#"\\" ,"b":6}"#, vec!["b = Number(\"6\")"]),
        (r#"" x, "b":6}"#, vec!["b = Number(\"6\")"]),
        // A whole document.
        (r#"{"a":1}"#, vec!["a = Number(\"1\")"]),
        // None.
        (r#"more text"#, vec![]),
        (r#""b":6]"#, vec![]),
        ("", vec![]),
    ] {
        assert_eq!(values_after(before, after, true), expected, "{after}");
        assert!(
            values_after(before, after, false).is_empty(),
            "its end was not seen"
        );
    }
}

#[test]
fn a_long_tail_keeps_its_end() {
    let mut reader = Reader::new(Documents::One);
    let mut told = Told::default();
    reader.push(b"{\"a\":\"", &mut told);
    reader.gap();
    let chunk = vec![b'x'; 1 << 20];
    // A gigabyte.
    for _ in 0..1024 {
        reader.push(&chunk, &mut told);
    }
    reader.push(b"\",\"b\":6}", &mut told);
    reader.finish(true, &mut told);
    told.lines.retain(|line| line.contains('='));
    assert_eq!(told.lines, ["b = Number(\"6\")"]);
}

/// Documents of all shapes, and nearly documents.
fn documents() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        r#""([ -!#-\[\]-~é😀]|\\["\\nt]|\\u00e9|\\ud83d\\ude00){0,12}""#,
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        let member = (r"[a-c.' ]{0,3}|skip|pieces", inner.clone());
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| {
                let members: Vec<String> = members
                    .into_iter()
                    .map(|(key, value)| format!("\"{key}\": {value}"))
                    .collect();
                format!("{{{}}}", members.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn cuts_do_not_matter(document in documents(), cuts in prop::collection::vec(0_usize..500, 0..4)) {
        let bytes = document.as_bytes();
        let whole = told_of(Documents::One, &[bytes]);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        prop_assert_eq!(&told_of(Documents::One, &pieces), &whole);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        prop_assert_eq!(&told_of(Documents::One, &single), &whole);
        prop_assert_eq!(&told_of(Documents::Lines, &single), &whole);
    }

    #[test]
    fn values_are_those_of_serde(document in documents()) {
        fn leaves(value: &serde_json::Value) -> Vec<String> {
            match value {
                serde_json::Value::Array(values) => values.iter().flat_map(leaves).collect(),
                serde_json::Value::Object(_) => vec![],
                serde_json::Value::String(text) => vec![format!("{:?}", Value::Text(text))],
                serde_json::Value::Number(number) => vec![format!("{:?}", Value::Number(&number.to_string()))],
                serde_json::Value::Bool(value) => vec![format!("{:?}", Value::Bool(*value))],
                serde_json::Value::Null => vec!["Null".into()],
            }
        }
        let value: serde_json::Value = serde_json::from_str(&document).expect("a document");
        // Serde keeps one of several members with one key, so objects are left out.
        let told: Vec<String> = told_of(Documents::One, &[document.as_bytes()])
            .into_iter()
            .filter(|line| line.starts_with("[]") || line.starts_with(" ="))
            .filter(|line| !line.split('=').next().unwrap_or_default().contains(|c: char| c.is_alphabetic() || "'.?".contains(c)))
            .filter_map(|line| line.split_once("= ").map(|(_, value)| value.to_owned()))
            .collect();
        prop_assert_eq!(told, leaves(&value));
    }

    /// What is told after a gap is what the whole document says there.
    #[test]
    fn a_gap_invents_nothing(document in documents(), gap in 0_usize..300, end in 0_usize..300) {
        // Where a key is not known, nothing is skipped by it.
        let document = document.replace("skip", "kept").replace("pieces", "text");
        let whole = values(&document);
        let bytes = document.as_bytes();
        let gap = gap.min(bytes.len());
        let end = (gap + end).min(bytes.len());
        let mut reader = Reader::new(Documents::One);
        let mut told = Told::default();
        reader.push(&bytes[..gap], &mut told);
        reader.gap();
        told.lines.clear();
        reader.push(&bytes[end..], &mut told);
        reader.finish(true, &mut told);
        let shape = |line: &String| line.split_once('=').map(|(_, value)| value.to_owned());
        let mut rest = whole.iter().rev();
        for line in told.lines.iter().filter(|line| line.contains('=')).rev() {
            let found = rest.find(|whole| shape(whole) == shape(line));
            prop_assert!(found.is_some(), "{} of {}", line, document);
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        pieces in prop::collection::vec(prop_oneof![
            r#"[\[\]{}",:\\ua0-9n\n]{0,40}"#.prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..40),
        ], 0..10),
        gap in 0_usize..10,
    ) {
        for documents in [Documents::One, Documents::Lines] {
            let mut reader = Reader::new(documents);
            let mut told = Told::default();
            for (number, piece) in pieces.iter().enumerate() {
                if number == gap {
                    reader.gap();
                }
                reader.push(piece, &mut told);
            }
            reader.finish(true, &mut told);
        }
    }
}
