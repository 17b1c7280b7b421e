//! What is known of a server from what it has said: answers, diagnostics, whether it is at work.
//!
//! Diagnostics are judged when they arrive. A document has one present version; what is published for any other one
//! is dropped there and then, so that nothing stale is ever kept. Servers that publish without a version are believed
//! from the moment on at which they are known to have read the change ([`State::arm`]). What comes before that may be
//! of the content before; it counts only for a document that was never sent before, and as a last resort of servers
//! that never publish later ([`State::last_resort`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::uri;

/// Kinds of work under way that are remembered by name: a server has a handful.
const PROGRESS_MAX: usize = 64;
/// Code of "there is no such method".
const METHOD_NOT_FOUND: i64 = -32601;

/// An error that a server answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i64,
    pub(super) message: String,
}

/// Why a server is no longer there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Gone {
    /// We ended it: it was idle, or its place was needed.
    Ended,
    /// It went by itself, with its last words.
    Crashed(String),
}

/// Who waits for an answer.
pub(super) type Waiting = oneshot::Sender<Result<Value, Refusal>>;

/// A document that the server has been told of.
#[derive(Debug)]
struct Tracked {
    version: i32,
    /// Nothing was sent of it before: whatever is published is of this version.
    first: bool,
    /// The server is known to have read this version.
    armed: bool,
    published: Option<Published>,
    /// What came without a version before that.
    doubtful: Option<Published>,
}

/// Diagnostics of a document's present version.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub(super) items: Vec<Value>,
    pub(super) at: Instant,
    pub(super) versioned: bool,
}

/// What is known of a server.
#[derive(Debug)]
pub(super) struct State {
    /// Who waits for an answer, and the document that the server has read when it comes.
    waiting: BTreeMap<i64, (Waiting, Option<PathBuf>)>,
    tracked: BTreeMap<PathBuf, Tracked>,
    /// Has it ever published with a version? Then it always does, but for clearing what was closed.
    versioned: bool,
    /// Has it ever published without a version after it had answered something that was asked later than the change?
    late: bool,
    /// Documents that were ever sent.
    sent: BTreeSet<PathBuf>,
    /// Has it asked to be asked for diagnostics?
    pub(super) pull: bool,
    progress: BTreeSet<String>,
    quiescent: Option<bool>,
    pub(super) used: Instant,
    pub(super) gone: Option<Gone>,
}

impl State {
    /// Is it at work on something that its answers depend on?
    pub(super) fn busy(&self) -> bool {
        !self.quiescent.unwrap_or(true) || !self.progress.is_empty()
    }

    /// From now on only diagnostics of this version count.
    pub(super) fn track(&mut self, path: &Path, version: i32) {
        let first = self.sent.insert(path.to_owned());
        let tracked = Tracked { version, first, armed: false, published: None, doubtful: None };
        self.tracked.insert(path.to_owned(), tracked);
    }

    /// The document is closed.
    pub(super) fn forget(&mut self, path: &Path) {
        self.tracked.remove(path);
    }

    /// The server has read the present version: diagnostics without one are of it.
    fn arm(&mut self, path: &Path) {
        if let Some(tracked) = self.tracked.get_mut(path) {
            tracked.armed = true;
        }
    }

    /// Diagnostics of the present version, where they have come.
    pub(super) fn published(&self, path: &Path) -> Option<&Published> {
        self.tracked.get(path)?.published.as_ref()
    }

    /// What was published last, though it may be of the content before; not if the server is known to publish late.
    pub(super) fn last_resort(&mut self, path: &Path) -> Option<Published> {
        if self.late || self.versioned {
            return None;
        }
        self.tracked.get_mut(path)?.doubtful.take()
    }

    /// Somebody waits for an answer. With it the server is known to have read `arms` as it is now: that is noted when
    /// the answer is heard, because what is published next may be in the same breath.
    pub(super) fn wait_for(&mut self, id: i64, waiting: Waiting, arms: Option<PathBuf>) {
        self.waiting.insert(id, (waiting, arms));
    }

    pub(super) fn give_up(&mut self, id: i64) -> bool {
        self.waiting.remove(&id).is_some()
    }

    pub(super) fn nobody_waits(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Nothing more will be heard.
    pub(super) fn close(&mut self) {
        self.waiting.clear();
    }

    fn publish(&mut self, params: &Value) {
        let Some(path) = params["uri"].as_str().and_then(uri::path) else { return };
        let version = params["version"].as_i64();
        self.versioned |= version.is_some();
        let Some(tracked) = self.tracked.get_mut(&path) else { return };
        let items = params["diagnostics"].as_array().cloned().unwrap_or_default();
        let published = Published { items, at: Instant::now(), versioned: version.is_some() };
        self.late |= version.is_none() && tracked.armed;
        let present = match version {
            Some(version) => version == i64::from(tracked.version),
            None => (tracked.first || tracked.armed) && !self.versioned,
        };
        if !present && version.is_none() {
            tracked.doubtful = Some(published);
        } else if !present {
            tracing::debug!(path = %path.display(), ?version, present = tracked.version, "stale diagnostics are dropped");
        } else {
            tracked.published = Some(published);
        }
    }

    fn progress(&mut self, params: &Value) {
        let token = params["token"].to_string();
        match params["value"]["kind"].as_str() {
            Some("begin") if self.progress.len() < PROGRESS_MAX => {
                self.progress.insert(token);
            }
            Some("end") => {
                self.progress.remove(&token);
            }
            Some(_) | None => {}
        }
    }

    fn answer(&mut self, message: &Value) {
        // An id that nobody waits for is an answer that came too late.
        let asked = message["id"].as_i64().and_then(|id| self.waiting.remove(&id));
        let Some((waiting, arms)) = asked else { return };
        if let Some(path) = arms {
            self.arm(&path);
        }
        let answer = match message.get("error") {
            Some(error) if !error.is_null() => Err(Refusal {
                code: error["code"].as_i64().unwrap_or_default(),
                message: error["message"].as_str().unwrap_or_default().to_owned(),
            }),
            _ => Ok(message["result"].clone()),
        };
        // Whoever asked may have stopped waiting.
        let _ = waiting.send(answer);
    }

    fn note(&mut self, method: &str, params: &Value) {
        match method {
            "textDocument/publishDiagnostics" => self.publish(params),
            "$/progress" => self.progress(params),
            "experimental/serverStatus" => self.quiescent = params["quiescent"].as_bool(),
            _ => {}
        }
    }
}

/// What a server is told of us when it asks.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) settings: Value,
    /// Its folder, as an address.
    pub(super) folder: String,
}

/// The state, shared by the task that hears a server and those who ask it.
#[derive(Debug)]
pub(super) struct Heard {
    state: Mutex<State>,
    changed: Notify,
    facts: Facts,
}

impl Heard {
    pub(super) fn new(facts: Facts) -> Heard {
        let state = State {
            waiting: BTreeMap::new(),
            tracked: BTreeMap::new(),
            versioned: false,
            late: false,
            sent: BTreeSet::new(),
            pull: false,
            progress: BTreeSet::new(),
            quiescent: None,
            used: Instant::now(),
            gone: None,
        };
        Heard { state: Mutex::new(state), changed: Notify::new(), facts }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `look` finds something; `None` = it did not until the deadline.
    pub(super) async fn until<T>(&self, deadline: Instant, mut look: impl FnMut(&State) -> Option<T>) -> Option<T> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(found) = look(&self.state()) {
                return Some(found);
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(deadline) => return look(&self.state()),
            }
        }
    }

    /// Those who wait look again.
    pub(super) fn changed(&self) {
        self.changed.notify_waiters();
    }

    /// Takes in a message; an answer to it, where it wants one.
    pub(super) fn hear(&self, message: &Value) -> Option<Value> {
        let id = message.get("id").filter(|id| !id.is_null());
        let reply = match (message["method"].as_str(), id) {
            (Some(method), Some(id)) => {
                let answer = self.answer_to(method, &message["params"]);
                Some(match answer {
                    Some(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                    None => {
                        let error = json!({"code": METHOD_NOT_FOUND, "message": format!("{method} is not known here")});
                        json!({"jsonrpc": "2.0", "id": id, "error": error})
                    }
                })
            }
            (Some(method), None) => {
                self.state().note(method, &message["params"]);
                None
            }
            (None, _) => {
                self.state().answer(message);
                None
            }
        };
        self.changed();
        reply
    }

    /// The answer to a request of the server; `None` = we do not know what it asks.
    fn answer_to(&self, method: &str, params: &Value) -> Option<Value> {
        match method {
            "workspace/configuration" => {
                let items = params["items"].as_array().cloned().unwrap_or_default();
                Some(items.iter().map(|item| self.setting(item["section"].as_str())).collect())
            }
            "client/registerCapability" => {
                let asked = params["registrations"].as_array().cloned().unwrap_or_default();
                if asked.iter().any(|one| one["method"] == "textDocument/diagnostic") {
                    self.state().pull = true;
                }
                Some(Value::Null)
            }
            "workspace/workspaceFolders" => Some(json!([{"uri": self.facts.folder, "name": "worktree"}])),
            // A change of files is what a worker does with its own tools, never a server.
            "workspace/applyEdit" => Some(json!({"applied": false, "failureReason": "edits are not applied here"})),
            "window/showDocument" => Some(json!({"success": false})),
            "window/workDoneProgress/create"
            | "client/unregisterCapability"
            | "window/showMessageRequest"
            | "workspace/diagnostic/refresh"
            | "workspace/semanticTokens/refresh"
            | "workspace/inlayHint/refresh"
            | "workspace/codeLens/refresh"
            | "workspace/inlineValue/refresh"
            | "workspace/foldingRange/refresh" => Some(Value::Null),
            _ => None,
        }
    }

    /// A part of the settings by its dotted name; all of them without one.
    fn setting(&self, section: Option<&str>) -> Value {
        let parts = section.unwrap_or_default().split('.').filter(|part| !part.is_empty());
        parts.fold(self.facts.settings.clone(), |value, part| value.get(part).cloned().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard() -> Heard {
        let settings = json!({"python": {"analysis": {"mode": "off"}}});
        Heard::new(Facts { settings, folder: "file:///w".to_owned() })
    }

    #[tokio::test]
    async fn a_server_gets_the_answers_it_has_to_have() {
        let heard = heard();
        let check = |method: &str, params: Value, expected: Value| {
            let reply = heard.hear(&json!({"id": "x1", "method": method, "params": params})).unwrap();
            assert_eq!(reply["id"], "x1");
            assert_eq!(reply["result"], expected, "{method}: {reply}");
        };
        let sections = json!({"items": [{"section": "python.analysis"}, {"section": "no.such"}, {}]});
        let all = json!([{"mode": "off"}, null, {"python": {"analysis": {"mode": "off"}}}]);
        check("workspace/configuration", sections, all);
        check("workspace/workspaceFolders", Value::Null, json!([{"uri": "file:///w", "name": "worktree"}]));
        check("window/workDoneProgress/create", json!({"token": 1}), Value::Null);
        check(
            "client/registerCapability",
            json!({"registrations": [{"method": "textDocument/diagnostic"}]}),
            Value::Null,
        );
        assert!(heard.state().pull);
        let unknown = heard.hear(&json!({"id": 7, "method": "their/own"})).unwrap();
        assert_eq!((&unknown["id"], &unknown["error"]["code"]), (&json!(7), &json!(METHOD_NOT_FOUND)));
        assert_eq!(heard.hear(&json!({"method": "their/note", "params": {}})), None);
        assert_eq!(heard.hear(&json!({"id": 9, "result": 1})), None, "an answer that nobody waits for");
        assert_eq!(heard.hear(&json!([1])), None);
    }

    #[tokio::test]
    async fn only_diagnostics_of_the_present_version_are_kept() {
        let heard = heard();
        let path = Path::new("/w/a.py");
        let publish = |version: Value, message: &str| {
            let mut params = json!({"uri": "file:///w/a.py", "diagnostics": [{"message": message}]});
            if !version.is_null() {
                params["version"] = version;
            }
            heard.hear(&json!({"method": "textDocument/publishDiagnostics", "params": params}));
            heard.state().published(path).map(|found| found.items[0]["message"].as_str().unwrap().to_owned())
        };
        assert_eq!(publish(json!(1), "not open"), None);
        let heard_versioned = heard.state().versioned;
        assert!(heard_versioned);
        heard.state().track(path, 1);
        heard.state().track(path, 2);
        assert_eq!(publish(json!(1), "old"), None);
        assert_eq!(publish(json!(2), "new"), Some("new".to_owned()));
        assert_eq!(publish(Value::Null, "a clearing"), Some("new".to_owned()));
        heard.state().track(path, 3);
        assert_eq!(publish(json!(2), "late"), None);
        heard.state().versioned = false;
        assert_eq!(publish(Value::Null, "before it has read the change"), None);
        let resort = heard.state().last_resort(path).map(|published| published.items);
        assert_eq!(resort, Some(vec![json!({"message": "before it has read the change"})]));
        heard.state().arm(path);
        assert_eq!(publish(Value::Null, "after"), Some("after".to_owned()));
        heard.state().track(path, 4);
        assert_eq!(publish(Value::Null, "doubtful"), None);
        assert!(heard.state().last_resort(path).is_none(), "it is known to publish late");
        let other = Path::new("/w/b.py");
        heard.state().track(other, 1);
        heard.hear(&json!({"method": "textDocument/publishDiagnostics", "params": {"uri": "file:///w/b.py", "diagnostics": []}}));
        assert!(heard.state().published(other).is_some(), "there was nothing before it");
    }

    #[tokio::test]
    async fn a_server_at_work_says_so() {
        let heard = heard();
        let busy = |method: &str, params: Value| {
            heard.hear(&json!({"method": method, "params": params}));
            heard.state().busy()
        };
        assert!(busy("$/progress", json!({"token": 1, "value": {"kind": "begin"}})));
        assert!(busy("$/progress", json!({"token": "1", "value": {"kind": "end"}})), "another token");
        assert!(!busy("$/progress", json!({"token": 1, "value": {"kind": "end"}})));
        assert!(busy("experimental/serverStatus", json!({"quiescent": false})));
        assert!(!busy("experimental/serverStatus", json!({"quiescent": true})));
    }
}
