//! A request as the engine sees it, whichever wire it came by: an ordered list of positions, each with its
//! hashable text, its tokens, and perhaps a mark.

/// Bytes of a token: the count is the same on every machine, and near enough to what tokenizers give.
pub(super) const TOKEN_BYTES: usize = 4;
/// Starts the line by which a first message says what its sender does.
const ROLE_LINE: &str = "Role: ";

/// The three wires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// `/v1/messages`.
    #[default]
    Messages,
    /// `/v1/chat/completions`.
    Chat,
    /// `/v1/responses`.
    Responses,
}

/// Part of a prompt; what is folded into one of them changes the hash of it and of all that follow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Section {
    #[default]
    Tools,
    System,
    Messages,
}

/// How long an entry lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// 5 minutes, or 30.
    Short,
    /// 1 hour, or 12.
    Long,
}

/// A block, or a tool, in the order in which it stands in the prompt.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Position {
    pub(super) section: Section,
    /// Whose it is; hashed, and free of charge.
    pub(super) role: &'static str,
    /// Its text without a mark.
    pub(super) text: String,
    pub(super) mark: Option<Life>,
    /// May a mark stand on it?
    pub(super) markable: bool,
    /// Does a message end here?
    pub(super) message_end: bool,
}

/// A request that the real service would take.
#[derive(Debug, Clone, Default)]
pub(super) struct Prompt {
    pub(super) wire: Wire,
    pub(super) model: String,
    pub(super) stream: bool,
    /// Is only the cache to be filled?
    pub(super) prewarm: bool,
    /// Settings that belong to the key of every entry.
    pub(super) base: String,
    /// Settings that count from a section on.
    pub(super) folds: [String; 3],
    pub(super) positions: Vec<Position>,
    /// Are marks the only ends of entries?
    pub(super) explicit_only: bool,
    /// Life of entries whose end is not marked.
    pub(super) implicit_life: Option<Life>,
    /// What the sender asks to be routed by.
    pub(super) routing_key: String,
    /// Are thinking texts left out of the reply?
    pub(super) thinking_hidden: bool,
    /// Is usage wanted at the end of a stream?
    pub(super) usage_wanted: bool,
    /// Texts of the user, but not the shared first block.
    pub(super) user_texts: Vec<String>,
    /// Tool results of the newest message.
    pub(super) tool_results: Vec<String>,
    /// Number of assistant messages.
    pub(super) turns: usize,
    /// What the reply repeats of the request.
    pub(super) echoed: Vec<(&'static str, serde_json::Value)>,
}

impl Position {
    pub(super) fn tokens(&self) -> u64 {
        tokens_of(self.text.len())
    }
}

impl Prompt {
    /// Tokens of all of it.
    pub(super) fn tokens(&self) -> u64 {
        self.positions.iter().map(Position::tokens).sum()
    }

    /// What the sender says that it does.
    pub(super) fn role(&self) -> Option<&str> {
        let lines = self.user_texts.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| line.strip_prefix(ROLE_LINE)).next().map(str::trim)
    }

    /// For each position the hash and the tokens of everything up to its end.
    pub(super) fn ends(&self) -> Vec<(blake3::Hash, u64)> {
        let mut hasher = self.hasher();
        let (mut total, mut folded) = (0, 0);
        let mut ends = Vec::with_capacity(self.positions.len());
        for position in &self.positions {
            self.fold(&mut hasher, &mut folded, position.section);
            hasher.update(position.role.as_bytes()).update(b" ").update(position.text.as_bytes()).update(b"\n");
            total += position.tokens();
            ends.push((hasher.finalize(), total));
        }
        ends
    }

    /// The hash after every `step` tokens: for caches that know no blocks.
    pub(super) fn steps(&self, step: u64) -> Vec<blake3::Hash> {
        let mut hasher = self.hasher();
        let mut folded = 0;
        let step = usize::try_from(step).unwrap_or(usize::MAX).saturating_mul(TOKEN_BYTES);
        let mut room = step;
        let mut hashes = Vec::new();
        for position in &self.positions {
            self.fold(&mut hasher, &mut folded, position.section);
            hasher.update(position.role.as_bytes());
            // A position ends with its last token, so that tokens and steps agree.
            let padding = position.text.len().next_multiple_of(TOKEN_BYTES) - position.text.len();
            for part in [position.text.as_bytes(), &b"\0\0\0\0"[..padding]] {
                let mut rest = part;
                while rest.len() >= room {
                    hasher.update(&rest[..room]);
                    hashes.push(hasher.finalize());
                    rest = &rest[room..];
                    room = step;
                }
                hasher.update(rest);
                room -= rest.len();
            }
        }
        hashes
    }

    fn hasher(&self) -> blake3::Hasher {
        let mut hasher = blake3::Hasher::new();
        hasher.update(format!("{:?}\n{}\n{}\n", self.wire, self.model, self.base).as_bytes());
        hasher
    }

    fn fold(&self, hasher: &mut blake3::Hasher, folded: &mut usize, section: Section) {
        while *folded <= section as usize {
            hasher.update(self.folds[*folded].as_bytes()).update(b"\0");
            *folded += 1;
        }
    }
}

/// Tokens of a text of so many bytes.
pub(super) fn tokens_of(bytes: usize) -> u64 {
    bytes.div_ceil(TOKEN_BYTES) as u64
}
