//! What the members of an answer mean.

/// What a member of an answer means. Each dialect has a table from paths to these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// Nothing that is wanted; inside of it there may be.
    Unknown,
    /// Nothing that is wanted, inside neither.
    Skip,
    /// Id of the answer.
    Id,
    /// Model that answered.
    Model,
    /// What kind of event this is.
    EventType,
    /// Text of the answer.
    Text,
    /// Text of a choice.
    ChoiceText,
    /// Other content: reasoning, arguments of a call.
    Content,
    /// A choice, over where this ends.
    Choice,
    /// Number of the choice.
    ChoiceIndex,
    /// Why it stopped.
    FinishReason,
    /// How it stands, which is why it stopped where it did.
    Status,
    /// A call, over where this ends.
    Call,
    /// Number of the call in the choice.
    CallIndex,
    /// Id of the call.
    CallId,
    /// What is called.
    CallName,
    /// What kind of call, or what else.
    CallType,
    /// Tokens of the request.
    Input,
    /// Tokens of the answer.
    Output,
    /// Tokens of the request that were read from a cache.
    CacheRead,
    /// Tokens of the request that were written to a cache.
    CacheCreation,
    /// Tokens of the answer that were spent on reasoning.
    Reasoning,
    /// An error: its message, or an object with that.
    Error,
    /// Its message.
    ErrorMessage,
    /// Its kind.
    ErrorType,
    /// Its kind, where there is no type.
    ErrorCode,
    /// An error's message where the status or the event's type says that it is one.
    Message,
    /// An error's code likewise.
    Code,
    /// The last line of a stream says so.
    Done,
    /// Nanoseconds in all.
    TotalDuration,
    /// Nanoseconds of loading the model.
    LoadDuration,
    /// Nanoseconds of reading the request.
    InputDuration,
    /// Nanoseconds of answering.
    OutputDuration,
}

/// What all dialects share.
pub fn common(path: &str) -> Field {
    match path {
        "id" => Field::Id,
        "model" => Field::Model,
        "type" => Field::EventType,
        "error" => Field::Error,
        "error.message" => Field::ErrorMessage,
        "error.type" => Field::ErrorType,
        "error.code" => Field::ErrorCode,
        "message" | "detail" => Field::Message,
        "code" => Field::Code,
        _ => Field::Unknown,
    }
}
