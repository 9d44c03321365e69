//! Words that announce a secret, and how secrets look.

use std::sync::LazyLock;

use aho_corasick::automaton::{Automaton, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind, StartKind};

/// What a pattern means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meaning {
    /// A header whose name contains it is secret.
    pub header: bool,
    /// A JSON member whose name ends with it is secret.
    pub json: bool,
    /// A query or form parameter whose name ends with it is secret.
    pub parameter: bool,
    /// It counts only where no letter or digit stands before it (`key`, but not `monkey`).
    pub whole_word: bool,
    /// What follows it at once is a secret, whatever stands around it.
    pub shape: bool,
    /// A URL's authority follows, which may hold a password.
    pub authority: bool,
}

const NOTHING: Meaning = Meaning {
    header: false,
    json: false,
    parameter: false,
    whole_word: false,
    shape: false,
    authority: false,
};
const HEADER: Meaning = Meaning {
    header: true,
    json: true,
    ..NOTHING
};
const ANYWHERE: Meaning = Meaning {
    parameter: true,
    ..HEADER
};
const MEMBER: Meaning = Meaning {
    json: true,
    parameter: true,
    ..NOTHING
};
const PARAMETER: Meaning = Meaning {
    parameter: true,
    whole_word: true,
    ..NOTHING
};
const AUTHORITY: Meaning = Meaning {
    authority: true,
    ..NOTHING
};
const SHAPE: Meaning = Meaning {
    shape: true,
    whole_word: true,
    ..NOTHING
};

/// Every pattern; letter case does not count. Words are found in longer names too: `token` stands
/// for `access_token`, `refreshToken` and `x-amz-security-token`, but not for `max_tokens`, since
/// a JSON or parameter name must end with the word.
const PATTERNS: &[(&str, Meaning)] = &[
    ("authorization", HEADER),
    ("cookie", HEADER),
    ("password", ANYWHERE),
    ("passwd", ANYWHERE),
    ("secret", ANYWHERE),
    ("token", ANYWHERE),
    ("api-key", ANYWHERE),
    ("api_key", ANYWHERE),
    ("apikey", ANYWHERE),
    ("access_key", MEMBER),
    ("accesskey", MEMBER),
    ("secret_key", MEMBER),
    ("secretkey", MEMBER),
    ("private_key", MEMBER),
    ("privatekey", MEMBER),
    ("key", PARAMETER),
    ("pwd", PARAMETER),
    ("sig", PARAMETER),
    ("signature", PARAMETER),
    ("assertion", PARAMETER),
    ("://", AUTHORITY),
    ("bearer ", SHAPE),
    // OpenAI, Anthropic, OpenRouter, LiteLLM
    ("sk-", SHAPE),
    // GitHub
    ("ghp_", SHAPE),
    ("gho_", SHAPE),
    ("ghu_", SHAPE),
    ("ghs_", SHAPE),
    ("ghr_", SHAPE),
    ("github_pat_", SHAPE),
    // GitLab
    ("glpat-", SHAPE),
    // Slack
    ("xoxa-", SHAPE),
    ("xoxb-", SHAPE),
    ("xoxp-", SHAPE),
    ("xoxr-", SHAPE),
    ("xoxs-", SHAPE),
    ("xapp-", SHAPE),
    // JSON Web Token: base64url of `{"`
    ("eyj", SHAPE),
    // AWS, Google, Hugging Face, Groq
    ("akia", SHAPE),
    ("aiza", SHAPE),
    ("ya29.", SHAPE),
    ("hf_", SHAPE),
    ("gsk_", SHAPE),
];

static AUTOMATON: LazyLock<DFA> = LazyLock::new(|| {
    DFA::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .start_kind(StartKind::Unanchored)
        .build(PATTERNS.iter().map(|(text, _)| text))
        .expect("a few dozen short constants fit into an automaton")
});

/// Finds patterns in bytes that come one at a time.
#[derive(Debug, Clone, Copy)]
pub struct Finder {
    state: StateID,
    /// Bit `n`: a word could begin `n` bytes before the next one.
    word_starts: u32,
    /// The last two bytes, the last one second.
    last: [u8; 2],
}

impl Default for Finder {
    fn default() -> Self {
        let state = AUTOMATON
            .start_state(Anchored::No)
            .expect("the automaton is built for unanchored searches");
        Self {
            state,
            word_starts: 0,
            last: [0; 2],
        }
    }
}

impl Finder {
    /// Takes the next byte; tells what the patterns that end with it mean.
    pub fn next(&mut self, byte: u8) -> Option<Meaning> {
        let [before, last] = self.last;
        // In JSON text `\nsk-…` is a line feed and a key.
        let after_escape = before == b'\\' && matches!(last, b'n' | b'r' | b't');
        let word_starts = after_escape || !last.is_ascii_alphanumeric();
        self.word_starts = self.word_starts << 1 | u32::from(word_starts);
        self.last = [last, byte];
        self.state = AUTOMATON.next_state(Anchored::No, self.state, byte);
        if !AUTOMATON.is_match(self.state) {
            return None;
        }
        let meanings = (0..AUTOMATON.match_len(self.state))
            .map(|index| PATTERNS[AUTOMATON.match_pattern(self.state, index).as_usize()])
            .filter(|(text, meaning)| {
                !meaning.whole_word || self.word_starts >> (text.len() - 1) & 1 == 1
            })
            .map(|(_, meaning)| meaning);
        meanings.reduce(|one, other| Meaning {
            header: one.header || other.header,
            json: one.json || other.json,
            parameter: one.parameter || other.parameter,
            whole_word: false,
            shape: one.shape || other.shape,
            authority: one.authority || other.authority,
        })
    }
}
