//! Conditions of an HPA and their reasons, in upstream's words.

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Upstream's word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => stringify!($variant),)* }
            }

            /// The one of that word.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|item| item.as_str() == word)
            }
        }
    };
}

words! {
    /// Type of a condition.
    ConditionType {
        /// Whether the scale can be read and written.
        AbleToScale,
        /// Whether the metrics yield a proposal.
        ScalingActive,
        /// Whether a limit changed the proposal.
        ScalingLimited,
        /// Whether this HPA itself took the workload to zero.
        ScaledToZero,
    }
}

words! {
    /// Reason of a condition.
    ConditionReason {
        /// The scale was read.
        SucceededGetScale,
        /// Recommended and current size may be reconciled.
        ReadyForNewScale,
        /// A recent higher recommendation holds.
        ScaleDownStabilized,
        /// A recent lower recommendation holds.
        ScaleUpStabilized,
        /// The scale was written.
        SucceededRescale,
        /// The scale cannot be read.
        FailedGetScale,
        /// The scale cannot be written.
        FailedUpdateScale,
        /// A metric gave a proposal.
        ValidMetricFound,
        /// Zero replicas, and scaling from zero is not on.
        ScalingDisabled,
        /// The selector is empty or cannot be read.
        InvalidSelector,
        /// Another HPA selects the same pods.
        AmbiguousSelector,
        /// A resource metric failed.
        FailedGetResourceMetric,
        /// A container resource metric failed.
        FailedGetContainerResourceMetric,
        /// A pods metric failed.
        FailedGetPodsMetric,
        /// An object metric failed.
        FailedGetObjectMetric,
        /// An external metric failed.
        FailedGetExternalMetric,
        /// A metric's type is unknown.
        InvalidMetricSourceType,
        /// No limit bound.
        DesiredWithinRange,
        /// `minReplicas` bound.
        TooFewReplicas,
        /// `maxReplicas` bound.
        TooManyReplicas,
        /// The rate limit upwards bound.
        ScaleUpLimit,
        /// The rate limit downwards bound.
        ScaleDownLimit,
        /// This HPA took the workload to zero.
        ScaledToZero,
        /// It did not.
        NotScaledToZero,
    }
}

/// A condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Its type.
    pub kind: ConditionType,
    /// Its status.
    pub is_true: bool,
    /// Its reason.
    pub reason: ConditionReason,
}

impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let status = if self.is_true { "True" } else { "False" };
        write!(f, "{}={status}/{}", self.kind.as_str(), self.reason.as_str())
    }
}

/// The conditions of an HPA, in the order in which they first appeared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Vec<Condition>);

impl Conditions {
    /// From a list.
    pub fn new(list: Vec<Condition>) -> Self {
        Self(list)
    }

    /// In order.
    pub fn as_slice(&self) -> &[Condition] {
        &self.0
    }

    /// The condition of a type.
    pub fn get(&self, kind: ConditionType) -> Option<Condition> {
        self.0.iter().copied().find(|condition| condition.kind == kind)
    }

    /// Updates a condition in its place, or appends it.
    pub fn set(&mut self, kind: ConditionType, is_true: bool, reason: ConditionReason) {
        let new = Condition { kind, is_true, reason };
        match self.0.iter_mut().find(|condition| condition.kind == kind) {
            Some(old) => *old = new,
            None => self.0.push(new),
        }
    }

    /// Removes a condition.
    pub fn remove(&mut self, kind: ConditionType) {
        self.0.retain(|condition| condition.kind != kind);
    }
}
