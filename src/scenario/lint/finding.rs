//! What a rule found.

use std::ops::Range;

use crate::yaml::Path;

/// What a rule found: what, where, why it matters, and the mend.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// Where.
    pub path: Path,
    /// Which part of the text there, bytes.
    pub within: Option<Range<usize>>,
    /// What.
    pub message: String,
    /// Why it is not what its author means.
    pub why: String,
    /// What to write instead.
    pub mend: String,
}

impl Finding {
    /// At a path.
    pub fn new(
        path: Path,
        message: impl Into<String>,
        why: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self { path, within: None, message: message.into(), why: why.into(), mend: mend.into() }
    }

    /// The same at a part of the text.
    #[must_use]
    pub fn within(mut self, range: Range<usize>) -> Self {
        self.within = Some(range);
        self
    }
}
