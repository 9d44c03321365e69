//! Calls in fenced blocks of a text:
//!
//! ````text
//! ```tool_call
//! {"tool": "calculator", "arguments": {…}}
//! ```
//! ````
//!
//! and `delegate` with an `agent`. A block counts where its JSON and its closing fence are whole, as
//! it does for the agents that read it.

use memchr::memchr;

use super::reply::{CallStyle, short_name};
use crate::exchanges::json::{Container, Documents, Inside, Path, Reader, Value, Visitor, Want};

const FENCE: u8 = b'`';
const FENCE_LENGTH: u8 = 3;
const TOOL_CALL: &[u8] = b"tool_call";
const DELEGATE: &[u8] = b"delegate";

/// Finds the fenced calls of a text that comes in pieces cut anywhere.
#[derive(Debug, Default)]
pub struct Fences {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Outside, after so many backticks.
    Text(u8),
    /// After a fence, so far one of the tags.
    Tag(Vec<u8>),
    /// After a tag. Its line may or may not be over.
    Blank {
        style: CallStyle,
        is_line_over: bool,
    },
    /// In the JSON.
    Json(Box<Block>),
    /// After the JSON, and so many backticks.
    Close(Box<Block>, u8),
}

impl Default for State {
    fn default() -> Self {
        Self::Text(0)
    }
}

/// A block that is being read.
#[derive(Debug)]
struct Block {
    reader: Reader,
    call: FencedCall,
}

#[derive(Debug)]
struct FencedCall {
    style: CallStyle,
    name: Option<String>,
    is_over: bool,
}

impl Visitor for FencedCall {
    fn begin(&mut self, path: &Path, _container: Container) -> Inside {
        if path.as_str().is_empty() {
            Inside::Enter
        } else {
            Inside::Skip
        }
    }

    fn end(&mut self, path: &Path, _container: Container) {
        self.is_over |= path.as_str().is_empty();
    }

    fn want(&mut self, path: &Path) -> Want {
        let key = match self.style {
            CallStyle::FencedDelegation => "agent",
            CallStyle::FencedTool | CallStyle::Native => "tool",
        };
        if path.as_str() == key {
            Want::Value
        } else {
            Want::Skip
        }
    }

    fn value(&mut self, _path: &Path, value: Value<'_>) {
        if let Some(name) = value.text() {
            self.name = Some(short_name(name));
        }
    }
}

impl Fences {
    /// Takes the next bytes of the text; `tell` gets the name and the style of each call that they
    /// complete.
    pub fn push(&mut self, mut bytes: &[u8], tell: &mut dyn FnMut(String, CallStyle)) {
        while let Some(&byte) = bytes.first() {
            if matches!(self.state, State::Text(0)) {
                let Some(fence) = memchr(FENCE, bytes) else {
                    return;
                };
                self.state = State::Text(1);
                bytes = &bytes[fence + 1..];
            } else {
                self.state = std::mem::take(&mut self.state).after(byte, tell);
                bytes = &bytes[1..];
            }
        }
    }
}

impl State {
    fn after(self, byte: u8, tell: &mut dyn FnMut(String, CallStyle)) -> Self {
        match self {
            // A fence may be longer.
            Self::Text(FENCE_LENGTH) if byte == FENCE => self,
            Self::Text(FENCE_LENGTH) => Self::Tag(Vec::new()).after(byte, tell),
            Self::Text(count) if byte == FENCE => Self::Text(count + 1),
            Self::Tag(mut tag) => {
                if byte.is_ascii_whitespace() {
                    let style = match tag.as_slice() {
                        TOOL_CALL => CallStyle::FencedTool,
                        DELEGATE => CallStyle::FencedDelegation,
                        _ => return Self::Text(0),
                    };
                    let is_line_over = byte == b'\n';
                    return Self::Blank {
                        style,
                        is_line_over,
                    };
                }
                tag.push(byte);
                if TOOL_CALL.starts_with(&tag) || DELEGATE.starts_with(&tag) {
                    Self::Tag(tag)
                } else {
                    Self::outside(byte)
                }
            }
            Self::Blank {
                style,
                is_line_over,
            } => match byte {
                b'{' if is_line_over => {
                    let reader = Reader::new(Documents::One);
                    let (name, is_over) = (None, false);
                    let call = FencedCall {
                        style,
                        name,
                        is_over,
                    };
                    Self::Json(Box::new(Block { reader, call })).after(byte, tell)
                }
                b'\n' => Self::Blank {
                    style,
                    is_line_over: true,
                },
                _ if byte.is_ascii_whitespace() => Self::Blank {
                    style,
                    is_line_over,
                },
                _ => Self::outside(byte),
            },
            Self::Json(mut block) => {
                let Block { reader, call } = &mut *block;
                reader.push(&[byte], call);
                if call.is_over {
                    Self::Close(block, 0)
                } else if reader.is_broken() {
                    Self::outside(byte)
                } else {
                    Self::Json(block)
                }
            }
            Self::Close(block, count) => match byte {
                FENCE if count + 1 == FENCE_LENGTH => {
                    if let Some(name) = block.call.name {
                        tell(name, block.call.style);
                    }
                    Self::Text(0)
                }
                FENCE => Self::Close(block, count + 1),
                _ if byte.is_ascii_whitespace() && count == 0 => Self::Close(block, 0),
                _ => Self::outside(byte),
            },
            Self::Text(_) => Self::outside(byte),
        }
    }

    fn outside(byte: u8) -> Self {
        Self::Text(u8::from(byte == FENCE))
    }
}
