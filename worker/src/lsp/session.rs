//! One server at work on one worktree: it is started, kept in step with the files, and asked.
//!
//! Before every question the server is told what the files hold now: documents it has open by their content, all others
//! by what [`Watch`] sees. A document is sent with a version that never came before. If anything else has changed since
//! a document was sent, it is closed and opened again before its diagnostics are asked for, because a server need not
//! publish again what it believes to be unchanged; so diagnostics are always those of the files as they are.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Answer, Place, Problem, Question, Symbol, Target};
use super::connection::{Connection, Fault};
use super::heard::Published;
use super::position::{self, Encoding, Position};
use super::settings::ServerSettings;
use super::trouble::Trouble;
use super::uri;
use super::watch::Watch;
use super::{Content, Limits, Reader};

/// Documents that a server has open at once; the one that was asked for longest ago is closed for another. They cost
/// memory and, when something changes, a new analysis each.
const DOCUMENTS_MAX: usize = 32;
/// A server that started so recently may give empty answers because it has not yet seen the project.
const YOUNG: Duration = Duration::from_secs(10);
/// Between two tries of a question whose answer is empty because the server is young or at work.
const AGAIN: Duration = Duration::from_millis(200);
/// A server without versions publishes a file's diagnostics in parts (syntax, then types): they are whole when it has
/// published nothing more for so long.
const SETTLED: Duration = Duration::from_millis(500);
/// "The content was modified" and "the server cancelled": ask again.
const TRANSIENT: [i64; 2] = [-32801, -32802];

/// A document that the server has open.
struct Document {
    path: PathBuf,
    hash: blake3::Hash,
    /// The state of all files that it was last sent in.
    sent_in: u64,
    /// When it was last asked for.
    asked: u64,
}

/// A server at work on a worktree.
pub(super) struct Session {
    connection: Connection,
    /// Root of the worktree; names of files are relative to it.
    root: PathBuf,
    settings: ServerSettings,
    limits: Limits,
    encoding: Encoding,
    provides: Value,
    documents: BTreeMap<String, Document>,
    watch: Watch,
    /// Counts the states of the files; a new one with each change.
    state: u64,
    version: i32,
    since: Instant,
    /// Questions in a row that were not answered.
    pub(super) unanswered: u32,
}

impl Session {
    /// Begins: the server says what it can do, and is told that it may begin.
    pub(super) async fn begin(
        connection: Connection,
        root: &Path,
        folder: &Path,
        settings: &ServerSettings,
        limits: Limits,
    ) -> Result<Session, Fault> {
        let deadline = Instant::now() + Duration::from_millis(settings.startup_ms());
        let watched = root.to_owned();
        let watch = blocking(move || Watch::look(&watched)).await;
        let answer = connection.request("initialize", introduction(folder, settings), deadline).await?;
        let provides = answer["capabilities"].clone();
        let encoding = provides["positionEncoding"].as_str().and_then(Encoding::named).unwrap_or_default();
        connection.notify("initialized", json!({}), deadline, |_| ()).await?;
        if !settings.settings.is_null() {
            let params = json!({"settings": settings.settings});
            connection.notify("workspace/didChangeConfiguration", params, deadline, |_| ()).await?;
        }
        Ok(Session {
            connection,
            root: root.to_owned(),
            settings: settings.clone(),
            limits,
            encoding,
            provides,
            documents: BTreeMap::new(),
            watch,
            state: 0,
            version: 0,
            since: Instant::now(),
            unanswered: 0,
        })
    }

    /// Is it gone, and why?
    pub(super) fn is_gone(&self) -> Option<super::heard::Gone> {
        self.connection.is_gone()
    }

    /// Ends it, and waits until it is gone.
    pub(super) async fn close(self) {
        self.connection.close().await;
    }

    /// Answers a question about the files as they are now.
    pub(super) async fn ask(&mut self, question: &Question, read: &Reader) -> Result<Answer, Trouble> {
        let text = self.sync(&question.file, read).await?;
        let uri = uri::of(&self.root.join(&question.file));
        let document = json!({"uri": uri});
        match question.target.method() {
            Some((method, capability)) => {
                if !provided(&self.provides[capability]) {
                    return Err(Trouble::Unsupported(question.target.name()));
                }
                let mut params = json!({"textDocument": document});
                if let Some(at) = question.target.byte(&text).map_err(Trouble::Input)? {
                    params["position"] = json!(position::position(&text, at, self.encoding));
                }
                if matches!(question.target, Target::References(_)) {
                    params["context"] = json!({"includeDeclaration": true});
                }
                let (result, partial) = self.asked(method, &params).await?;
                Ok(self.read_answer(&question.target, &result, partial))
            }
            None => self.diagnostics(&question.file, &text, document, read).await,
        }
    }

    fn read_answer(&self, target: &Target, result: &Value, partial: bool) -> Answer {
        let encoding = self.encoding;
        match target {
            Target::Definition(_) | Target::References(_) => {
                Answer::Places { places: Place::all(result), encoding, partial }
            }
            Target::Hover(_) => Answer::Text(super::answer::words(&result["contents"])),
            Target::Symbols => Answer::Symbols { symbols: Symbol::all(result), encoding },
            Target::Diagnostics => Answer::Problems { problems: Vec::new(), partial },
        }
    }

    fn soon(&self) -> Instant {
        Instant::now() + self.limits.quiet
    }

    fn late(&self) -> Instant {
        Instant::now() + self.limits.request
    }

    fn busy(&self) -> bool {
        self.connection.heard.state().busy()
    }

    /// Waits a moment for a server that is at work.
    async fn quiet(&self, deadline: Instant) -> bool {
        let quiet = |state: &super::heard::State| (!state.busy() || state.gone.is_some()).then_some(());
        self.connection.heard.until(deadline, quiet).await.is_some()
    }

    /// The result of a request, and whether the server was still at work. An empty one of a server that is at work, or
    /// that has only just started, says nothing yet.
    async fn asked(&mut self, method: &str, params: &Value) -> Result<(Value, bool), Trouble> {
        let soon = self.soon();
        self.quiet(soon).await;
        loop {
            let result = match self.request(method, params.clone()).await {
                Err(Trouble::Transient(_)) if Instant::now() < soon => Value::Null,
                result => result?,
            };
            let busy = self.busy();
            let unsure = busy || self.since.elapsed() < YOUNG;
            if !empty(&result) || !unsure {
                return Ok((result, busy));
            }
            let now = Instant::now();
            if now >= soon {
                return if busy { Err(Trouble::NotReady) } else { Ok((result, false)) };
            }
            let again = (now + AGAIN).min(soon);
            self.connection.heard.until(again, |state| state.gone.is_some().then_some(())).await;
        }
    }

    async fn request(&mut self, method: &str, params: Value) -> Result<Value, Trouble> {
        let answered = self.connection.request(method, params, self.late()).await;
        self.unanswered = if matches!(answered, Err(Fault::Late)) { self.unanswered + 1 } else { 0 };
        answered.map_err(|fault| match fault {
            Fault::Gone(gone) => Trouble::Gone(gone),
            Fault::Late => Trouble::Late(self.limits.request),
            Fault::Refused(refusal) if TRANSIENT.contains(&refusal.code) => Trouble::Transient(refusal.message),
            Fault::Refused(refusal) => Trouble::Refused(refusal.message),
        })
    }

    async fn diagnostics(&mut self, name: &str, text: &str, document: Value, read: &Reader) -> Result<Answer, Trouble> {
        let soon = self.soon();
        let path = self.root.join(name);
        let pull = provided(&self.provides["diagnosticProvider"]) || self.connection.heard.state().pull;
        if !pull && self.documents.get(name).is_some_and(|document| document.sent_in < self.state) {
            self.reopen(name, read).await?;
        }
        self.quiet(soon).await;
        let mut items = Vec::new();
        if pull {
            let mut params = json!({"textDocument": document});
            if let Some(identifier) = self.provides["diagnosticProvider"].get("identifier") {
                params["identifier"] = identifier.clone();
            }
            items = self.pulled(&params, soon).await?;
            let pushed = self.connection.heard.state().published(&path).cloned();
            let pushed = pushed.map(|pushed| pushed.items).unwrap_or_default();
            items.extend(pushed.into_iter().filter(|item| !items.contains(item)).collect::<Vec<_>>());
        } else {
            items.extend(self.pushed(&path, document, soon).await?.items);
        }
        let busy = self.busy();
        if busy && items.is_empty() {
            return Err(Trouble::NotReady);
        }
        let mut problems: Vec<_> = items.iter().filter_map(|item| Problem::read(item, text, self.encoding)).collect();
        problems.sort();
        problems.dedup();
        Ok(Answer::Problems { problems, partial: busy })
    }

    async fn pulled(&mut self, params: &Value, soon: Instant) -> Result<Vec<Value>, Trouble> {
        loop {
            match self.request("textDocument/diagnostic", params.clone()).await {
                Ok(report) => return Ok(report["items"].as_array().cloned().unwrap_or_default()),
                Err(Trouble::Transient(_)) if Instant::now() < soon => {
                    let again = (Instant::now() + AGAIN).min(soon);
                    self.connection.heard.until(again, |state| state.gone.is_some().then_some(())).await;
                }
                Err(Trouble::Transient(_)) => return Err(Trouble::NotReady),
                Err(trouble) => return Err(trouble),
            }
        }
    }

    /// Waits for diagnostics of the present version; none in time is no answer, and never an older one.
    async fn pushed(&mut self, path: &Path, document: Value, soon: Instant) -> Result<Published, Trouble> {
        if self.connection.heard.state().published(path).is_none() {
            self.barrier(path, document, soon).await?;
        }
        let heard = Arc::clone(&self.connection.heard);
        let found = heard
            .until(soon, |state| match (&state.gone, state.published(path)) {
                (Some(gone), _) => Some(Err(Trouble::Gone(gone.clone()))),
                (None, Some(published)) => Some(Ok(published.clone())),
                (None, None) => None,
            })
            .await;
        let mut found = match found {
            Some(found) => found?,
            None => return heard.state().last_resort(path).ok_or(Trouble::NotReady),
        };
        while !found.versioned {
            let settled = found.at + SETTLED;
            let since = found.at;
            let more = |state: &super::heard::State| state.published(path).filter(|now| now.at > since).cloned();
            match heard.until(settled, more).await {
                Some(newer) if Instant::now() < soon + SETTLED => found = newer,
                Some(_) => return Err(Trouble::NotReady),
                None => break,
            }
        }
        Ok(found)
    }

    /// Has the server answer something, so that it is known to have read all that was sent before.
    async fn barrier(&mut self, path: &Path, document: Value, soon: Instant) -> Result<(), Trouble> {
        let mut params = json!({"textDocument": document});
        let method = if provided(&self.provides["hoverProvider"]) {
            params["position"] = json!(Position { line: 0, character: 0 });
            "textDocument/hover"
        } else {
            // One that is not known is answered, too.
            "textDocument/documentSymbol"
        };
        match self.connection.ask(method, params, soon, Some(path.to_owned())).await {
            // A server with versions needs no barrier; one without is not ready.
            Ok(_) | Err(Fault::Refused(_) | Fault::Late) => Ok(()),
            Err(Fault::Gone(gone)) => Err(Trouble::Gone(gone)),
        }
    }

    /// Tells the server what the files hold now; the text of the one that is asked for.
    async fn sync(&mut self, name: &str, read: &Reader) -> Result<String, Trouble> {
        let (root, reader) = (self.root.clone(), Arc::clone(read));
        let mut names: Vec<String> = self.documents.keys().cloned().collect();
        if !self.documents.contains_key(name) {
            names.push(name.to_owned());
        }
        let (now, contents) = blocking(move || {
            let contents: Vec<_> = names.into_iter().map(|name| (reader(&name), name)).collect();
            (Watch::look(&root), contents)
        })
        .await;
        let changes = self.watch.changes(&now);
        let documents = self.documents.iter();
        let edited = contents.iter().any(|(content, name)| {
            let sent = documents.clone().find(|(open, _)| *open == name).map(|(_, document)| document.hash);
            sent.is_some_and(|sent| !matches!(content, Content::Text(text) if hash(text) == sent))
        });
        if edited || !changes.is_empty() {
            self.state += 1;
        }
        let mut wanted = Err(Trouble::Input(format!("{name} cannot be read")));
        for (content, open) in contents {
            match content {
                Content::Text(text) => {
                    self.show(&open, &text).await?;
                    if open == name {
                        wanted = Ok(text);
                    }
                }
                Content::Not(why) => {
                    self.hide(&open).await?;
                    if open == name {
                        wanted = Err(Trouble::Input(why));
                    }
                }
            }
        }
        if !changes.is_empty() {
            let changes = changes.into_iter().map(|(path, event)| json!({"uri": uri::of(&path), "type": event as u8}));
            let params = json!({"changes": changes.collect::<Vec<_>>()});
            self.notify("workspace/didChangeWatchedFiles", params, |_| ()).await?;
        }
        self.watch = now;
        let state = self.state;
        if let Some(document) = self.documents.get_mut(name) {
            document.asked = state;
        }
        wanted
    }

    /// Sends a document if the server does not have it as it is.
    async fn show(&mut self, name: &str, text: &str) -> Result<(), Trouble> {
        let hash = hash(text);
        let path = self.root.join(name);
        let open = self.documents.get(name).map(|document| document.hash);
        if open == Some(hash) {
            return Ok(());
        }
        self.version += 1;
        let version = self.version;
        let uri = uri::of(&path);
        let tracked = path.clone();
        if open.is_some() {
            let params = json!({"textDocument": {"uri": uri, "version": version}, "contentChanges": [{"text": text}]});
            self.notify("textDocument/didChange", params, move |state| state.track(&tracked, version)).await?;
        } else {
            self.make_room().await?;
            let params = json!({"textDocument": {
                "uri": uri, "languageId": self.language(name), "version": version, "text": text,
            }});
            self.notify("textDocument/didOpen", params, move |state| state.track(&tracked, version)).await?;
        }
        let document = Document { path, hash, sent_in: self.state, asked: self.state };
        self.documents.insert(name.to_owned(), document);
        Ok(())
    }

    async fn hide(&mut self, name: &str) -> Result<(), Trouble> {
        let Some(document) = self.documents.remove(name) else { return Ok(()) };
        let params = json!({"textDocument": {"uri": uri::of(&document.path)}});
        self.notify("textDocument/didClose", params, move |state| state.forget(&document.path)).await
    }

    /// Sends a document anew, so that its diagnostics are made anew.
    async fn reopen(&mut self, name: &str, read: &Reader) -> Result<(), Trouble> {
        let (reader, wanted) = (Arc::clone(read), name.to_owned());
        let content = blocking(move || reader(&wanted)).await;
        self.hide(name).await?;
        match content {
            Content::Text(text) => self.show(name, &text).await,
            Content::Not(why) => Err(Trouble::Input(why)),
        }
    }

    async fn make_room(&mut self) -> Result<(), Trouble> {
        while self.documents.len() >= DOCUMENTS_MAX {
            let oldest = self.documents.iter().min_by_key(|(_, document)| document.asked).map(|(name, _)| name.clone());
            match oldest {
                Some(name) => self.hide(&name).await?,
                None => break,
            }
        }
        Ok(())
    }

    async fn notify(
        &self,
        method: &str,
        params: Value,
        with: impl FnOnce(&mut super::heard::State),
    ) -> Result<(), Trouble> {
        self.connection.notify(method, params, self.late(), with).await.map_err(|fault| match fault {
            Fault::Gone(gone) => Trouble::Gone(gone),
            Fault::Late | Fault::Refused(_) => Trouble::Late(self.limits.request),
        })
    }

    fn language(&self, name: &str) -> &str {
        super::language(&self.settings, name).unwrap_or("plaintext")
    }
}

fn hash(text: &str) -> blake3::Hash {
    blake3::hash(text.as_bytes())
}

/// Does a server say that it has something? `false` and `null` say that it has not.
fn provided(capability: &Value) -> bool {
    !matches!(capability, Value::Null | Value::Bool(false))
}

fn empty(result: &Value) -> bool {
    match result {
        Value::Null => true,
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// What a server is told first.
fn introduction(root: &Path, settings: &ServerSettings) -> Value {
    let folder = uri::of(root);
    json!({
        "processId": std::process::id(),
        "clientInfo": {"name": "wattle", "version": env!("CARGO_PKG_VERSION")},
        "rootPath": root,
        "rootUri": folder,
        "workspaceFolders": [{"uri": folder, "name": "worktree"}],
        "initializationOptions": settings.initialization_options,
        "capabilities": {
            "general": {"positionEncodings": Encoding::OFFERED},
            "window": {"workDoneProgress": true},
            "workspace": {
                "configuration": true,
                "workspaceFolders": true,
                "didChangeConfiguration": {"dynamicRegistration": true},
                "didChangeWatchedFiles": {"dynamicRegistration": true, "relativePatternSupport": true},
            },
            "textDocument": {
                "synchronization": {"didSave": false},
                "definition": {"linkSupport": true},
                "references": {},
                "hover": {"contentFormat": ["plaintext", "markdown"]},
                "documentSymbol": {"hierarchicalDocumentSymbolSupport": true},
                "publishDiagnostics": {"versionSupport": true},
                "diagnostic": {"dynamicRegistration": true},
            },
            "experimental": {"serverStatusNotification": true},
        },
    })
}
