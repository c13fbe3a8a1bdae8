//! `autoscaling.keda.sh/...` annotations of a ScaledObject.
//!
//! After kedacore/keda `apis/keda/v1alpha1/scaledobject_types.go` and
//! `controllers/keda/scaledobject_controller.go` (8b4f083c).

use std::collections::BTreeMap;

use super::executor::Pause;
use crate::policy::Fault;
use crate::policy::knative::parse::boolean;

const PAUSED: &str = "autoscaling.keda.sh/paused";
const PAUSED_REPLICAS: &str = "autoscaling.keda.sh/paused-replicas";
const PAUSED_SCALE_IN: &str = "autoscaling.keda.sh/paused-scale-in";
const PAUSED_SCALE_OUT: &str = "autoscaling.keda.sh/paused-scale-out";
const FORCE_ACTIVATION: &str = "autoscaling.keda.sh/force-activation";

/// Every annotation that is read.
pub const KEYS: [&str; 5] = [PAUSED, PAUSED_REPLICAS, PAUSED_SCALE_IN, PAUSED_SCALE_OUT, FORCE_ACTIVATION];

/// What the annotations say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// What is held back.
    pub pause: Pause,
    /// `paused-replicas`: the target is set to it once; it pauses everything.
    pub paused_replicas: Option<i32>,
    /// `force-activation`.
    pub force_activation: bool,
}

impl Annotations {
    /// Reads the annotations of a ScaledObject; others are left alone. A flag whose value is no
    /// boolean counts as set.
    ///
    /// # Errors
    /// `paused-replicas` that is no number.
    pub fn from_map(map: &BTreeMap<String, String>) -> Result<Self, Vec<Fault>> {
        let flag = |key: &str| map.get(key).is_some_and(|value| boolean(value).unwrap_or(true));
        let paused_replicas = match map.get(PAUSED_REPLICAS).map(|text| text.parse::<i32>()) {
            Some(Err(_)) => {
                let message = "`paused-replicas` is not a whole number of 32 bits".to_owned();
                return Err(vec![(PAUSED_REPLICAS.to_owned(), message, "write e.g. \"0\"".to_owned())]);
            }
            Some(Ok(replicas)) => Some(replicas),
            None => None,
        };
        let pause = Pause {
            all: flag(PAUSED) || paused_replicas.is_some(),
            scale_in: flag(PAUSED_SCALE_IN),
            scale_out: flag(PAUSED_SCALE_OUT),
        };
        Ok(Self { pause, paused_replicas, force_activation: flag(FORCE_ACTIVATION) })
    }

    /// Whether the HPA is deleted while this holds.
    pub fn removes_hpa(&self) -> bool {
        self.pause.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Annotations, Vec<Fault>> {
        Annotations::from_map(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn flags_are_set_by_anything_but_false() {
        for (value, set) in [("true", true), ("false", false), ("0", false), ("", true), ("yes please", true)]
        {
            assert_eq!(read(&[(PAUSED, value)]).expect(value).pause.all, set, "{value}");
        }
        let own =
            read(&[(PAUSED_REPLICAS, "3"), (PAUSED, "false"), (FORCE_ACTIVATION, "true")]).expect("valid");
        assert_eq!((own.pause.all, own.paused_replicas, own.force_activation), (true, Some(3), true));
        assert!(own.removes_hpa());
        let own = read(&[(PAUSED_SCALE_IN, "true")]).expect("valid");
        assert!(own.pause.scale_in && !own.pause.scale_out && !own.removes_hpa());
        assert!(read(&[(PAUSED_REPLICAS, "some")]).is_err());
    }
}
