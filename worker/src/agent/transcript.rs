//! The messages of one conversation, verbatim and append-only.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use wattle_cache::prefix::{self, PrefixError, RawMessage, Rendered, RequestOptions, Role, SharedPrefix, Target};
use wattle_cache::view::check::{self, Facts, Violation};
use wattle_cache::view::{EditError, View, ViewEdit, ViewError};

use super::brief;
use crate::fork::Fork;
use crate::instructions;
use crate::tool;

/// A conversation.
pub(super) struct Transcript {
    shared: SharedPrefix,
    worker_message: String,
    /// The first message of its own.
    first: String,
    /// All messages after the first one.
    history: Vec<RawMessage>,
    /// What a request shows of them.
    view: View,
    /// Messages that are another conversation's, the first one included.
    inherited: usize,
    counts: Counts,
}

/// What is counted of a conversation as it grows: each message is looked at once, however many there are.
#[derive(Default)]
struct Counts {
    /// Replies since the task or the newest feedback.
    replies: u32,
    /// Questions of the newest reply.
    asked: Vec<Call>,
    /// Those that nobody answered.
    unanswered: Vec<Call>,
}

impl Counts {
    fn of(messages: &[RawMessage]) -> Counts {
        let mut counts = Counts::default();
        messages.iter().for_each(|message| counts.add(message));
        counts
    }

    fn add(&mut self, message: &RawMessage) {
        match message.role() {
            Role::Assistant => {
                self.replies += 1;
                self.asked = calls(message).into_iter().filter(|call| call.name == tool::ASK).collect();
            }
            Role::User => {
                if says(message) {
                    self.replies = 0;
                }
                let asked = std::mem::take(&mut self.asked);
                if !asked.is_empty() {
                    let answered = successes(message);
                    self.unanswered.extend(asked.into_iter().filter(|call| !answered.contains(&call.id)));
                }
            }
        }
    }
}

/// Whose turn it is.
pub(super) enum Standing {
    /// The newest message waits for an answer of the model.
    ToSend,
    /// The model has called tools, and nobody has answered.
    Calls(Vec<Call>),
    /// The model has said its last word.
    Finished,
}

/// One call of a tool, as the model wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) name: String,
    /// JSON text.
    pub(super) input: String,
}

#[derive(Deserialize)]
struct MessageForm<'a> {
    #[serde(borrow)]
    content: Vec<BlockForm<'a>>,
}

#[derive(Deserialize)]
struct BlockForm<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_use_id: Option<Cow<'a, str>>,
    is_error: Option<bool>,
}

impl Transcript {
    /// Begins a conversation, or goes on with the messages of an earlier try (its first one included). Those
    /// are sent again as they were, whatever brief and worker message would be today. So are those of `fork`, before all
    /// of its own.
    pub(super) fn open(
        brief: &str,
        worker_message: &str,
        fork: Option<&Fork>,
        messages: &[String],
        views: &[String],
    ) -> Result<Transcript, ViewError> {
        if let Some(fork) = fork {
            let first = messages.first().cloned().unwrap_or_else(|| fork.own_first(worker_message));
            let own = std::iter::once(first.clone()).chain(messages.iter().skip(1).cloned());
            let all: Vec<String> = fork.messages.iter().cloned().chain(own).collect();
            let opened = Self::open(brief, worker_message, None, &all, views)?;
            let mut transcript = Transcript { first, inherited: fork.messages.len(), ..opened };
            transcript.counts = Counts::of(transcript.own());
            return Ok(transcript);
        }
        let (brief, worker_message) = match messages.first() {
            Some(first) => prefix::split_first(first)?,
            None => (brief.to_owned(), worker_message.to_owned()),
        };
        let shared = SharedPrefix::new(tool::definitions(), brief::SYSTEM, &brief)?;
        let first = prefix::first_message(&shared, &worker_message);
        let parsed = messages.iter().skip(1).map(|json| RawMessage::parse(json));
        let history = parsed.collect::<Result<Vec<_>, _>>()?;
        let wrong =
            |error: serde_json::Error| PrefixError::Message { message: format!("an edit of the view: {error}") };
        let edits = views.iter().map(|json| serde_json::from_str(json).map_err(wrong)).collect::<Result<_, _>>()?;
        let view = View::restore(&history, edits)?;
        let counts = Counts::of(&history);
        Ok(Transcript { shared, worker_message, first, history, view, inherited: 0, counts })
    }

    /// What of the history is its own.
    fn own(&self) -> &[RawMessage] {
        &self.history[self.inherited.saturating_sub(1).min(self.history.len())..]
    }

    /// JSON of the first message of its own.
    pub(super) fn first(&self) -> &str {
        &self.first
    }

    /// Adds a message and gives its index.
    pub(super) fn push(&mut self, json: &str) -> Result<u32, PrefixError> {
        let index = self.next_index();
        let message = RawMessage::parse(json)?;
        self.view.push(&message);
        self.counts.add(&message);
        self.history.push(message);
        Ok(index)
    }

    /// Index of the next message among its own.
    pub(super) fn next_index(&self) -> u32 {
        u32::try_from(self.history.len() + 1 - self.inherited).unwrap_or(u32::MAX)
    }

    pub(super) fn render(&self, target: &Target, options: &RequestOptions) -> Rendered {
        prefix::render_for(target, &self.shared, &self.worker_message, self.view.messages(), options)
    }

    /// The same request with one more message of ours at its end, which does not join the conversation.
    pub(super) fn render_asking(&self, words: &str, target: &Target, options: &RequestOptions) -> Rendered {
        let asking = serde_json::json!({"role": "user", "content": [{"type": "text", "text": words}]}).to_string();
        let mut messages = self.view.messages().to_vec();
        messages.push(RawMessage::parse(&asking).expect("it was written as a message just now"));
        prefix::render_for(target, &self.shared, &self.worker_message, &messages, options)
    }

    /// What a request shows of the conversation.
    pub(super) fn view(&self) -> &View {
        &self.view
    }

    /// Changes what is shown.
    pub(super) fn edit(&mut self, edit: ViewEdit) -> Result<(), EditError> {
        self.view.edit(&self.history, edit)
    }

    /// Bytes of the messages that would be shown after an edit.
    pub(super) fn bytes_after(&self, edit: &ViewEdit) -> Result<usize, EditError> {
        let mut trial = self.view.clone();
        trial.edit(&self.history, edit.clone())?;
        Ok(trial.bytes())
    }

    /// Checks what must hold of a request before it is sent.
    pub(super) fn check(&mut self, rendered: &Rendered, facts: &Facts<'_>) -> Result<(), Violation> {
        let facts = Facts { history: &self.history, worker_message: &self.worker_message, ..*facts };
        check::check(&mut self.view, rendered, &facts)
    }

    /// All messages of its own as JSON, the first one included.
    pub(super) fn messages(&self) -> impl DoubleEndedIterator<Item = &str> {
        let first = (self.inherited == 0).then_some(self.first.as_str());
        first.into_iter().chain(self.own().iter().map(RawMessage::as_str))
    }

    /// Its task, where that is not in the message which every request begins with.
    pub(super) fn task(&self) -> Option<String> {
        self.own().first().filter(|_| self.inherited > 0).map(|first| texts(first).join("\n\n"))
    }

    pub(super) fn standing(&self) -> Standing {
        match self.history.last() {
            None => Standing::ToSend,
            Some(message) if message.role() == Role::User => Standing::ToSend,
            Some(message) => {
                let calls = calls(message);
                if calls.is_empty() { Standing::Finished } else { Standing::Calls(calls) }
            }
        }
    }

    /// The feedback that the conversation has not been given yet, as one message; and where it goes on, when that
    /// is another worktree than the one it knows.
    pub(super) fn feedback(&self, feedback: &[String], worktree: &str) -> Option<String> {
        let mut given = vec![self.worker_message.clone()];
        for message in self.own().iter().filter(|message| message.role() == Role::User) {
            given.extend(texts(message));
        }
        let moved = (!worktree.is_empty()).then(|| brief::worktree_line(worktree));
        let missing: Vec<String> = moved
            .into_iter()
            .chain(brief::feedback_parts(feedback))
            .filter(|part| !given.iter().any(|text| text.contains(part.as_str())))
            .collect();
        if missing.is_empty() {
            return None;
        }
        let text = missing.join("\n\n");
        Some(serde_json::json!({"role": "user", "content": [{"type": "text", "text": text}]}).to_string())
    }

    /// Replies since the task or the newest feedback, whichever came last.
    pub(super) fn replies_since_feedback(&self) -> u32 {
        self.counts.replies
    }

    /// Questions that were asked and that nobody answered, oldest first.
    pub(super) fn unanswered(&self) -> &[Call] {
        &self.counts.unanswered
    }

    /// The newest replies that called something, each with what it was told, newest first.
    pub(super) fn newest_exchanges(&self, count: usize) -> Vec<(Vec<Call>, Vec<String>)> {
        let mut exchanges = Vec::new();
        let mut answers = Vec::new();
        for message in self.history.iter().rev() {
            if message.role() == Role::User {
                answers.splice(0..0, results(message));
            } else {
                exchanges.push((calls(message), std::mem::take(&mut answers)));
                if exchanges.len() == count {
                    break;
                }
            }
        }
        exchanges
    }

    /// Calls that were answered with a success, oldest first.
    pub(super) fn answered_calls(&self) -> Vec<Call> {
        let mut answered = Vec::new();
        let mut open: Vec<Call> = Vec::new();
        for message in self.own() {
            match message.role() {
                Role::Assistant => open = calls(message),
                Role::User => {
                    let good = successes(message);
                    answered.extend(open.drain(..).filter(|call| good.contains(&call.id)));
                }
            }
        }
        answered
    }

    /// Everything that the conversation was told in words of ours, block by block.
    pub(super) fn told(&self) -> Vec<String> {
        let told = self.history.iter().filter(|message| message.role() == Role::User);
        told.flat_map(texts).collect()
    }

    /// Replies since the newest tail that a request holds anyway; `None` = it holds none.
    pub(super) fn replies_since_tail(&self, target: &Target, model: &str) -> Option<usize> {
        prefix::replies_since_tail(self.view.messages(), target, model)
    }

    /// What the conversation reports: the newest of the tool's report and the model's last words.
    pub(super) fn report(&self) -> String {
        #[derive(Deserialize)]
        struct ReportForm {
            markdown: String,
        }
        let reported = self.answered_calls().into_iter().rfind(|call| call.name == tool::REPORT);
        let form = reported.and_then(|call| serde_json::from_str::<ReportForm>(&call.input).ok());
        if let Some(form) = form {
            return form.markdown;
        }
        let replies = self.own().iter().rev().filter(|message| message.role() == Role::Assistant);
        let said = replies.map(|message| texts(message).join("\n\n")).find(|text| !text.is_empty());
        said.unwrap_or_default()
    }
}

fn form(message: &RawMessage) -> Vec<BlockForm<'_>> {
    let form: MessageForm<'_> = serde_json::from_str(message.as_str())
        .expect("a raw message is an object with blocks, or it would not have been taken");
    form.content
}

fn texts(message: &RawMessage) -> Vec<String> {
    let texts = form(message).into_iter().filter(|block| block.kind == "text");
    texts.filter_map(|block| block.text.map(Cow::into_owned)).collect()
}

/// Does a message say more than results and the instructions that go with them?
fn says(message: &RawMessage) -> bool {
    texts(message).iter().any(|text| !instructions::is_given(text))
}

fn calls(message: &RawMessage) -> Vec<Call> {
    let calls = form(message).into_iter().filter(|block| block.kind == "tool_use").map(|block| Call {
        id: block.id.unwrap_or_default().into_owned(),
        name: block.name.unwrap_or_default().into_owned(),
        input: block.input.map_or_else(|| "{}".to_owned(), |input| input.get().to_owned()),
    });
    calls.collect()
}

/// The contents of the results in a message, and its words.
fn results(message: &RawMessage) -> Vec<String> {
    let contents = form(message).into_iter().filter_map(|block| match block.content {
        Some(content) => Some(content.get().to_owned()),
        None => block.text.map(Cow::into_owned),
    });
    contents.collect()
}

/// Ids of the calls that a message answers with a success.
fn successes(message: &RawMessage) -> Vec<String> {
    let good = form(message)
        .into_iter()
        .filter(|block| block.kind == "tool_result" && block.is_error != Some(true))
        .filter_map(|block| block.tool_use_id.map(Cow::into_owned));
    good.collect()
}
