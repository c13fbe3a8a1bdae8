//! Pulls of the image: the manifest; layers in its order, a few at a time, each over the registry's link and the node's; one after
//! the other, as each is there, they are decompressed and written (`profile::image` has the same as a formula). Or lazily: first what
//! the container needs, then, while it runs, the rest.

use super::{NodePlan, Piece, Pulled, Storage, Timer, Want, Wares, alone};
use crate::kernel::{NodeId, ReplicaId, SimDuration, SimTime};
use crate::sim::storage::links::NANOBYTES;

/// The kubelet's back-off between two pulls that failed: from here on doubling (`ImagePullBackOff`).
const BACK_OFF: SimDuration = SimDuration::from_secs(10);
/// Its longest.
const BACK_OFF_MAX: SimDuration = SimDuration::from_secs(300);

/// How far the image is on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Absent,
    /// Another image comes first.
    Queued,
    Pulling,
    /// Refused; it is tried again.
    BackingOff,
    /// The container runs; the rest of a lazily pulled image is on its way.
    Running,
    Present,
}

/// A node's pull.
#[derive(Clone, Debug)]
pub(super) struct Pull {
    state: State,
    /// Layers asked for, and which are there.
    asked: u32,
    downloaded: Vec<bool>,
    unpacked: u32,
    unpacking: bool,
    /// Refusals in a row.
    failures: u32,
    /// When it began, and when it would end, were it alone.
    begun: SimTime,
    alone: SimTime,
}

impl Pull {
    pub(super) fn new(is_there: bool) -> Self {
        Self {
            state: if is_there { State::Present } else { State::Absent },
            asked: 0,
            downloaded: Vec::new(),
            unpacked: 0,
            unpacking: false,
            failures: 0,
            begun: SimTime::ZERO,
            alone: SimTime::ZERO,
        }
    }

    /// When it began, if it is under way, and when it would end, were it alone.
    pub(super) fn under_way(&self) -> Option<(SimTime, SimTime)> {
        let is = matches!(self.state, State::Queued | State::Pulling | State::BackingOff);
        is.then_some((self.begun, self.alone))
    }

    /// Whether a container of it runs.
    pub(super) fn runs(&self) -> bool {
        matches!(self.state, State::Running | State::Present)
    }
}

impl Storage {
    /// The pulls of a fresh node: of each version.
    pub(super) fn new_pulls(&self, image_present: bool) -> Vec<Pull> {
        let first = Pull::new(image_present || self.plan.image.is_none());
        std::iter::once(first).chain(self.plan.later_images.iter().map(|_| Pull::new(false))).collect()
    }

    /// Where a version is kept: under the version that it has its image from.
    fn kept(&self, pulled: Pulled) -> Pulled {
        Pulled { version: self.plan.image_at(pulled.version).0, ..pulled }
    }

    pub(super) fn pull_of(&self, pulled: Pulled) -> &Pull {
        let Pulled { node, version } = self.kept(pulled);
        &self.nodes[node.index()].pulls[version as usize]
    }

    fn pull_mut(&mut self, pulled: Pulled) -> &mut Pull {
        let Pulled { node, version } = self.kept(pulled);
        &mut self.nodes[node.index()].pulls[version as usize]
    }

    /// Whether a node has the whole image, and it has not been pushed out of the image store.
    pub(super) fn has_image(&self, now: SimTime, pulled: Pulled) -> bool {
        let node = &self.nodes[pulled.node.index()];
        let Some(image) = self.plan.image_of(pulled.version) else { return true };
        // The kubelet collects unused images down to 80 % of the disk (`imageGCLowThresholdPercent`), those unused longest first.
        let keeps = |capacity: u64| {
            let low = u64::try_from(u128::from(capacity) * 80 / 100).unwrap_or(u64::MAX);
            !node.plan.is_evicted(low, image.unpacked, node.image_used, now)
        };
        self.pull_of(pulled).state == State::Present
            && (node.pods > 0 || node.plan.image_store.is_none_or(keeps))
    }

    pub(super) fn begin_pull(&mut self, now: SimTime, pulled: Pulled) {
        let pulled = self.kept(pulled);
        if self.pull_of(pulled).state == State::Present && !self.has_image(now, pulled) {
            *self.pull_mut(pulled) = Pull::new(false);
        }
        let Some(image) = self.plan.image_of(pulled.version) else { return };
        if self.pull_of(pulled).state != State::Absent {
            return;
        }
        // Layers in common with a version that is there, or on its way, are not asked for again.
        let others = &self.nodes[pulled.node.index()].pulls;
        let downloaded = (0..image.layers.len()).map(|layer| {
            let shares = |version: usize| {
                let shared = |version: u32| {
                    if version == 0 { u32::MAX } else { self.plan.image_of(version).map_or(0, |i| i.shared) }
                };
                layer < shared(pulled.version).min(shared(version as u32)) as usize
            };
            others.iter().enumerate().any(|(version, other)| {
                shares(version)
                    && (other.state == State::Present || other.downloaded.get(layer) == Some(&true))
            })
        });
        let downloaded: Vec<bool> = downloaded.collect();
        // Those that were unpacked with it are so at the beginning.
        let unpacked = downloaded.iter().take_while(|there| **there).count() as u32;
        let waits = self.plan.serial_pulls && others.iter().any(|pull| pull.state == State::Pulling);
        let state = if waits { State::Queued } else { State::Pulling };
        let alone = if self.reckons {
            let node = NodePlan { present: Wares::NONE, ..self.nodes[pulled.node.index()].plan };
            now.saturating_add(alone::takes(&self.plan, node, Want::Image, pulled.version, Some(&downloaded)))
        } else {
            SimTime::MAX
        };
        let fresh = Pull::new(false);
        *self.pull_mut(pulled) = Pull { state, downloaded, unpacked, begun: now, alone, ..fresh };
        if !waits {
            self.ask_for_manifest(now, pulled);
        }
    }

    /// Of a pull that has begun some layers are there already.
    pub(super) fn has_layers(&mut self, pulled: Pulled, downloaded: &[bool]) {
        let pull = self.pull_mut(pulled);
        pull.downloaded = downloaded.to_vec();
        pull.unpacked = downloaded.iter().take_while(|there| **there).count() as u32;
    }

    /// A pull ended or failed: another one that waited begins.
    fn next_pull(&mut self, now: SimTime, node: NodeId) {
        let queued = self.nodes[node.index()].pulls.iter().position(|pull| pull.state == State::Queued);
        if let Some(version) = queued {
            self.ask_for_manifest(now, Pulled { node, version: version as u32 });
        }
    }

    pub(super) fn ask_for_manifest(&mut self, now: SimTime, pulled: Pulled) {
        let Some(image) = self.plan.image_of(pulled.version) else { return };
        let there = now.saturating_add(image.manifest);
        self.pull_mut(pulled).state = State::Pulling;
        if self.is_refused(now, pulled, None) {
            return self.back_off(now, pulled);
        }
        self.timers.insert((there, Timer::Manifest(pulled)));
    }

    pub(super) fn manifest(&mut self, now: SimTime, pulled: Pulled) {
        if let Some(lazy) = self.plan.image_of(pulled.version).and_then(|image| image.lazy) {
            let amount = u128::from(lazy.first) * NANOBYTES;
            return self.transfer_of_image(now, pulled, Piece::First(pulled, None), amount);
        }
        self.ask_for_layers(now, pulled);
        self.unpack(now, pulled);
    }

    pub(super) fn begin_layer(&mut self, now: SimTime, pulled: Pulled, layer: u32) {
        let Some(image) = self.plan.image_of(pulled.version) else { return };
        let amount = u128::from(image.layers[layer as usize].0) * NANOBYTES;
        if self.is_refused(now, pulled, Some(layer)) {
            return self.back_off(now, pulled);
        }
        self.transfer_of_image(now, pulled, Piece::Layer(pulled, layer, None), amount);
    }

    /// Whether the registry refuses, and neither a peer nor the cache of the cluster has what is asked for.
    fn is_refused(&self, now: SimTime, pulled: Pulled, layer: Option<u32>) -> bool {
        let of_version = |cached: &(u32, u32)| cached.0 == pulled.version;
        let is_cached = match layer {
            Some(layer) => self.cached_layers.contains(&(pulled.version, layer)),
            None => self.cached_layers.iter().any(of_version),
        };
        let cached = self.registry.cache.is_some() && is_cached;
        self.plan.registry.fails(now)
            && !cached
            && self.peer(now, pulled.node, Want::Image, pulled.version).is_none()
    }

    /// Begins a transfer of the image, or of a layer of it; from a peer if one has it.
    pub(super) fn transfer_of_image(&mut self, now: SimTime, pulled: Pulled, piece: Piece, amount: u128) {
        let from = self.peer(now, pulled.node, Want::Image, pulled.version);
        let (piece, layer) = match piece {
            Piece::Layer(pulled, layer, _) => (Piece::Layer(pulled, layer, from), Some(layer)),
            Piece::First(..) => (Piece::First(pulled, from), None),
            _ => (Piece::Rest(pulled, from), None),
        };
        let is_cached = layer.is_some_and(|layer| self.cached_layers.contains(&(pulled.version, layer)));
        let over = self.way(self.registry, pulled.node, from, is_cached);
        let limit = self.plan.registry.connection.filter(|_| from.is_none());
        self.links.begin(now, piece, &over, limit, amount);
    }

    pub(super) fn layer_arrived(&mut self, now: SimTime, pulled: Pulled, layer: u32, from: Option<NodeId>) {
        if from.is_none() && self.plan.registry.cache.is_some() {
            self.cached_layers.insert((pulled.version, layer));
        }
        self.pull_mut(pulled).downloaded[layer as usize] = true;
        self.ask_for_layers(now, pulled);
        self.unpack(now, pulled);
    }

    /// What a lazily pulled image needs at first is there.
    pub(super) fn first_arrived(&mut self, now: SimTime, pulled: Pulled) {
        self.pull_mut(pulled).state = State::Running;
        self.serve_image(now, pulled);
        let Some(image) = self.plan.image_of(pulled.version) else { return };
        let rest = image.bytes().saturating_sub(image.lazy.map_or(0, |lazy| lazy.first));
        self.transfer_of_image(now, pulled, Piece::Rest(pulled, None), u128::from(rest) * NANOBYTES);
    }

    pub(super) fn rest_arrived(&mut self, now: SimTime, pulled: Pulled) {
        self.pull_mut(pulled).state = State::Present;
        self.node(pulled.node).image_used = now;
    }

    /// An image is there: for all versions that have it.
    fn serve_image(&mut self, now: SimTime, pulled: Pulled) {
        for version in 0..=self.plan.later_images.len() as u32 {
            if self.plan.image_at(version).0 == pulled.version {
                self.serve(pulled.node, Want::Image, Some(version));
            }
        }
        self.next_pull(now, pulled.node);
    }

    /// A runtime starts: of an image that is not all there it waits for what it touches first.
    pub(super) fn touch(&mut self, now: SimTime, pulled: Pulled, replica: ReplicaId) -> bool {
        let lazy = self.plan.image_of(pulled.version).and_then(|image| image.lazy);
        let Some(lazy) = lazy.filter(|_| self.pull_of(pulled).state == State::Running) else { return true };
        let touched = now.saturating_add(lazy.first_touch);
        self.timers.insert((touched, Timer::Touched(pulled.node, replica)));
        false
    }

    /// The registry refuses: what comes from it is cut.
    pub(super) fn refuse(&mut self, now: SimTime) {
        let cut = self
            .links
            .take_if(now, |piece| matches!(piece, Piece::Layer(_, _, None) | Piece::First(_, None)));
        for (piece, _) in cut {
            let (Piece::Layer(pulled, ..) | Piece::First(pulled, _)) = piece else { continue };
            if self.pull_of(pulled).state == State::Pulling {
                self.back_off(now, pulled);
            }
        }
    }

    /// A pull failed: layers that are there stay, the others are asked for again after a while.
    fn back_off(&mut self, now: SimTime, pulled: Pulled) {
        self.timers.retain(
            |(_, timer)| !matches!(timer, Timer::Layer(of, _) | Timer::Manifest(of) if *of == pulled),
        );
        self.links.take_if(
            now,
            |piece| matches!(piece, Piece::Layer(to, _, _) | Piece::First(to, _) if *to == pulled),
        );
        let pull = self.pull_mut(pulled);
        let wait = SimDuration::from_nanos(BACK_OFF.as_nanos() << pull.failures.min(16)).min(BACK_OFF_MAX);
        pull.failures += 1;
        pull.state = State::BackingOff;
        pull.asked = 0;
        self.timers.insert((now.saturating_add(wait), Timer::Retry(pulled)));
        self.next_pull(now, pulled.node);
    }

    /// Asks for as many further layers as there are connections free.
    fn ask_for_layers(&mut self, now: SimTime, pulled: Pulled) {
        let Some(image) = self.plan.image_of(pulled.version).cloned() else { return };
        let pull = self.pull_mut(pulled);
        if pull.state != State::Pulling {
            return;
        }
        let there = |pull: &Pull| {
            let asked = pull.downloaded.iter().take(pull.asked as usize);
            asked.filter(|there| **there).count() as u32
        };
        let mut asked = Vec::new();
        while pull.asked < image.layers.len() as u32 && pull.asked - there(pull) < image.connections.max(1) {
            if !pull.downloaded[pull.asked as usize] {
                asked.push((now.saturating_add(image.per_request), Timer::Layer(pulled, pull.asked)));
            }
            pull.asked += 1;
        }
        self.timers.extend(asked);
    }

    pub(super) fn unpacked(&mut self, now: SimTime, pulled: Pulled) {
        let pull = self.pull_mut(pulled);
        (pull.unpacked, pull.unpacking) = (pull.unpacked + 1, false);
        self.unpack(now, pulled);
    }

    /// Takes up the next layer, if it is there; after the last one the image is.
    fn unpack(&mut self, now: SimTime, pulled: Pulled) {
        let Some(image) = self.plan.image_of(pulled.version) else { return };
        let pull = self.pull_of(pulled);
        if pull.unpacking {
            return;
        }
        let next = pull.unpacked as usize;
        match pull.downloaded.get(next) {
            None => {
                self.pull_mut(pulled).state = State::Present;
                self.node(pulled.node).image_used = now;
                self.serve_image(now, pulled);
            }
            Some(true) => {
                let unpacked = now.saturating_add(image.layers[next].1);
                self.pull_mut(pulled).unpacking = true;
                self.timers.insert((unpacked, Timer::Unpacked(pulled)));
            }
            Some(false) => {}
        }
    }
}
