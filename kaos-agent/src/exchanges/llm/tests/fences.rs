use super::super::fenced::Fences;
use super::*;

fn calls(pieces: &[&[u8]]) -> Vec<ToolCall> {
    let mut fences = Fences::default();
    let mut calls = Vec::new();
    for piece in pieces {
        fences.push(piece, &mut |name, style| {
            calls.push(call(None, &name, style))
        });
    }
    calls
}

const TOOL: CallStyle = CallStyle::FencedTool;
const DELEGATION: CallStyle = CallStyle::FencedDelegation;

#[test]
fn fenced_calls() {
    for (text, expected) in [
        (
            "```tool_call\n{\"tool\": \"add\", \"arguments\": {\"tool\": \"no\"}}\n```",
            vec![("add", TOOL)],
        ),
        (
            "I will.\n\n```delegate\n{\"agent\": \"researcher\", \"task\": \"a ``` b\"}\n```\nSo.",
            vec![("researcher", DELEGATION)],
        ),
        (
            "```tool_call \r\n\n {\n\"arguments\": {},\n\"tool\": \"a\\u0064d\"\n}\n\n```",
            vec![("add", TOOL)],
        ),
        (
            "```tool_call\n{\"tool\": \"a\"}\n``` and ```tool_call\n{\"tool\": \"b\"}\n```",
            vec![("a", TOOL), ("b", TOOL)],
        ),
        ("````tool_call\n{\"tool\": \"a\"}\n````", vec![("a", TOOL)]),
        (
            "```json\n{}\n```\n```tool_call\n{\"tool\": \"a\"}\n```",
            vec![("a", TOOL)],
        ),
        // Not whole, or none.
        ("```tool_call\n{\"tool\": \"a\"}\n", vec![]),
        ("```tool_call\n{\"tool\": \"a\"", vec![]),
        ("```tool_call\n{\"tool\": \"a\"} so\n```", vec![]),
        ("```tool_call {\"tool\": \"a\"}\n```", vec![]),
        ("```tool_calls\n{\"tool\": \"a\"}\n```", vec![]),
        ("```tool_call\n{\"agent\": \"a\"}\n```", vec![]),
        ("``tool_call\n{\"tool\": \"a\"}\n```", vec![]),
        ("```tool_call\n[1]\n```", vec![]),
        (
            "```tool_call\n{oh no}\n```\n```tool_call\n{\"tool\": \"a\"}\n```",
            vec![("a", TOOL)],
        ),
    ] {
        let expected: Vec<ToolCall> = expected
            .into_iter()
            .map(|(name, style)| call(None, name, style))
            .collect();
        assert_eq!(calls(&[text.as_bytes()]), expected, "{text}");
        let single: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(calls(&single), expected, "{text}");
    }
}

#[test]
fn in_answers() {
    let body = r#"{"choices":[{"index":0,"message":{"content":"I will.\n```tool_call\n{\"tool\": \"add\", \"arguments\": {\"a\": 1}}\n```"},"finish_reason":"stop"}]}"#;
    let expected = [call(None, "add", TOOL)];
    assert_eq!(answered(CHAT, 200, JSON, &[body]).tool_calls, expected);
    let words = [
        "``",
        "`tool",
        "_call\\n{\\\"too",
        "l\\\": \\\"add\\\"}",
        "\\n`",
        "``",
    ];
    let data: Vec<String> = words
        .iter()
        .map(|word| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{word}"}}}}]}}"#))
        .collect();
    let data: Vec<&str> = data.iter().map(String::as_str).collect();
    assert_eq!(answered_by_events(CHAT, &data).tool_calls, expected);
}

#[test]
fn notices() {
    let streamed = |words: &[&str]| {
        let data: Vec<String> = words
            .iter()
            .map(|word| format!(r#"{{"choices":[{{"index":0,"delta":{{"content":"{word}"}}}}]}}"#))
            .collect();
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        answered_by_events(CHAT, &data).notice
    };
    assert_eq!(
        streamed(&["Sorry, ", "I ", "encountered ", "an ", "error: ", "x"]),
        Some(Notice::Failed)
    );
    assert_eq!(
        streamed(&[
            "{\\\"type\\\": \\\"progress\\\"}\\n",
            "Sorry, I encountered an error: x"
        ]),
        Some(Notice::Failed)
    );
    assert_eq!(
        streamed(&["\\n[Delegation", " failed: x]"]),
        Some(Notice::DelegationFailed)
    );
    assert_eq!(
        streamed(&["Reached maximum reasoning steps (5)"]),
        Some(Notice::MaxSteps)
    );
    assert_eq!(streamed(&["I am ", "sorry"]), None);
    assert_eq!(streamed(&["He said: Sorry, I encountered an error"]), None);
    assert_eq!(
        Notice::of(" Sorry, I encountered an error"),
        Some(Notice::Failed)
    );
}
