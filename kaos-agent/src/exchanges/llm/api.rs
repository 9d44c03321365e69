//! Which API a request speaks, by its method and path.

use crate::exchanges::exchange::Request;

/// The API that a model is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Api {
    /// `…/chat/completions`
    OpenAiChat,
    /// `…/completions`
    OpenAiCompletions,
    /// `…/embeddings`
    OpenAiEmbeddings,
    /// `…/responses`
    OpenAiResponses,
    /// `…/v1/messages`
    AnthropicMessages,
    /// `/api/chat`
    OllamaChat,
    /// `/api/generate`
    OllamaGenerate,
    /// `/api/embed`, and the older `/api/embeddings`
    OllamaEmbed,
}

impl Api {
    /// The API whose path this request has. What is before the path's end is the gateway's choice.
    /// Ollama calls its own runner processes at `/completion` and `/embedding`, which are none.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        if request.method != "POST" {
            return None;
        }
        let path = path(request);
        let mut segments = path.rsplit('/');
        let last = segments.next()?;
        let before = segments.next()?;
        match (before, last) {
            ("api", "chat") => Some(Self::OllamaChat),
            ("api", "generate") => Some(Self::OllamaGenerate),
            ("api", "embed" | "embeddings") => Some(Self::OllamaEmbed),
            ("chat", "completions") => Some(Self::OpenAiChat),
            (_, "completions") => Some(Self::OpenAiCompletions),
            (_, "embeddings") => Some(Self::OpenAiEmbeddings),
            (_, "responses") => Some(Self::OpenAiResponses),
            ("v1", "messages") => Some(Self::AnthropicMessages),
            _ => None,
        }
    }

    /// One of Ollama's own.
    pub(super) fn is_ollama(self) -> bool {
        matches!(
            self,
            Self::OllamaChat | Self::OllamaGenerate | Self::OllamaEmbed
        )
    }

    /// Whether the answer is streamed where the request does not say.
    pub(super) fn streams_by_default(self) -> bool {
        matches!(self, Self::OllamaChat | Self::OllamaGenerate)
    }
}

/// The model that the path names: `…/deployments/NAME/…` (Azure) or `…/engines/NAME/…`.
pub(super) fn model_in_path(request: &Request) -> Option<&str> {
    let mut segments = path(request).split('/');
    segments.find(|segment| matches!(*segment, "deployments" | "engines"))?;
    segments.next().filter(|name| !name.is_empty())
}

/// The target's path, without a slash at its end.
fn path(request: &Request) -> &str {
    let target = request.target.as_str();
    let path = target.split(['?', '#']).next().unwrap_or(target);
    path.strip_suffix('/').unwrap_or(path)
}
