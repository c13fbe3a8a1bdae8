use proptest::prelude::*;

use super::*;

fn at(nanos: u64) -> SimTime {
    SimTime::from_nanos(nanos)
}

/// Plays transfers `(begin, links, limit, amount)` and changes of rates `(at, link, rate)`; gives when each ended, ns.
fn play(
    rates: &[u64],
    transfers: &[(u64, Vec<u32>, Option<u64>, u64)],
    changes: &[(u64, u32, u64)],
    until: u64,
) -> Vec<Option<u64>> {
    let mut links = Links::default();
    let ids: Vec<LinkId> = rates.iter().map(|rate| links.add(*rate)).collect();
    let mut ends = vec![None; transfers.len()];
    let mut now = 0;
    loop {
        let of = |links: &[u32]| links.iter().map(|link| ids[*link as usize]).collect::<Vec<_>>();
        for (index, (_, over, limit, amount)) in transfers.iter().enumerate().filter(|(_, t)| t.0 == now) {
            links.begin(at(now), index, &of(over), *limit, u128::from(*amount));
        }
        for (_, link, rate) in changes.iter().filter(|change| change.0 == now) {
            links.set_rate(at(now), ids[*link as usize], *rate);
        }
        for (_, index) in links.ended(at(now)) {
            ends[index] = Some(now);
        }
        let others =
            transfers.iter().map(|t| t.0).chain(changes.iter().map(|c| c.0)).filter(|time| *time > now);
        let next = links.next_end().map(SimTime::as_nanos).into_iter().chain(others).min();
        match next {
            Some(next) if next <= until => now = next,
            _ => return ends,
        }
    }
}

/// The same, nanosecond by nanosecond: all rates rise by one as long as every link has room for it.
fn integrate(
    rates: &[u64],
    transfers: &[(u64, Vec<u32>, Option<u64>, u64)],
    changes: &[(u64, u32, u64)],
    until: u64,
) -> (Vec<Option<u64>>, u64) {
    let mut rates = rates.to_vec();
    let mut left: Vec<u64> = transfers.iter().map(|t| t.3).collect();
    let mut ends = vec![None; transfers.len()];
    let mut carried = 0;
    for now in 0..=until {
        for (_, link, rate) in changes.iter().filter(|change| change.0 == now) {
            rates[*link as usize] = *rate;
        }
        for index in 0..transfers.len() {
            if transfers[index].0 <= now && left[index] == 0 && ends[index].is_none() {
                ends[index] = Some(now);
            }
        }
        let runs: Vec<usize> =
            (0..transfers.len()).filter(|i| transfers[*i].0 <= now && left[*i] > 0).collect();
        let mut rate = vec![0u64; transfers.len()];
        let mut rising = runs.clone();
        while !rising.is_empty() {
            let load = |link: u32, rate: &[u64]| -> u64 {
                runs.iter().filter(|i| transfers[**i].1.contains(&link)).map(|i| rate[*i]).sum()
            };
            let more = |link: u32, rising: &[usize]| {
                rising.iter().filter(|i| transfers[**i].1.contains(&link)).count() as u64
            };
            let full: Vec<bool> = (0..rates.len() as u32)
                .map(|link| load(link, &rate) + more(link, &rising) > rates[link as usize])
                .collect();
            let before = rising.len();
            rising.retain(|i| {
                transfers[*i].2 != Some(rate[*i]) && !transfers[*i].1.iter().any(|link| full[*link as usize])
            });
            if rising.len() == before {
                for index in &rising {
                    rate[*index] += 1;
                }
            }
        }
        for index in runs {
            carried += rate[index].min(left[index]);
            left[index] = left[index].saturating_sub(rate[index]);
        }
    }
    (ends, carried)
}

#[test]
fn transfers_share_a_link_and_speed_up_when_one_ends() {
    // 100 for both: 50 each until the first ends at 4; the other has 200 of its 400 left: 2 more.
    let transfers = [(0, vec![0], None, 200), (0, vec![0], None, 400)];
    assert_eq!(play(&[100], &transfers, &[], 100), [Some(4), Some(6)]);
}

#[test]
fn what_one_cannot_use_others_get() {
    // The first is held to 10 by its own link; the second takes the other 90 of the common one.
    let transfers = [(0, vec![0, 1], None, 100), (0, vec![0], None, 900)];
    assert_eq!(play(&[100, 10], &transfers, &[], 100), [Some(10), Some(10)]);
    // Or by its own limit.
    let transfers = [(0, vec![0], Some(10), 100), (0, vec![0], None, 900)];
    assert_eq!(play(&[100], &transfers, &[], 100), [Some(10), Some(10)]);
}

#[test]
fn a_link_that_is_down_holds_its_transfers() {
    let transfers = [(0, vec![0], None, 100)];
    assert_eq!(play(&[10], &transfers, &[(5, 0, 0), (20, 0, 10)], 100), [Some(25)]);
    assert_eq!(play(&[10], &transfers, &[(5, 0, 0)], 100), [None]);
}

#[test]
fn a_cancelled_transfer_says_what_was_left() {
    let mut links = Links::default();
    let link = links.add(10);
    let [a, b] = [1, 2].map(|of| links.begin(SimTime::ZERO, of, &[link], None, 100));
    assert_eq!(links.rate(b), Some(5));
    assert_eq!(links.cancel(at(4), a), Some(80));
    assert_eq!((links.rate(a), links.rate(b)), (None, Some(10)));
    assert_eq!(links.next_end(), Some(at(12)));
    assert_eq!(links.ended(at(11)), []);
    assert_eq!(links.ended(at(12)), [(b, 2)]);
}

#[test]
fn nothing_takes_no_time_even_where_nothing_moves() {
    let mut links = Links::default();
    let link = links.add(0);
    let id = links.begin(at(3), 'a', &[link], None, 0);
    assert_eq!(links.next_end(), Some(at(3)));
    assert_eq!(links.ended(at(3)), [(id, 'a')]);
    assert_eq!(links.next_end(), None);
}

fn transfer(links: u32) -> impl Strategy<Value = (u64, Vec<u32>, Option<u64>, u64)> {
    let over = proptest::sample::subsequence((0..links).collect::<Vec<_>>(), 1..=links as usize);
    (0u64..60, over, proptest::option::of(1u64..20), 0u64..900)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Exactly what the integration says, and every byte asked for is carried once.
    #[test]
    fn events_are_the_fluid(
        (rates, transfers, changes) in (1u32..4).prop_flat_map(|links| {
            let rates = proptest::collection::vec(0u64..50, links as usize);
            let transfers = proptest::collection::vec(transfer(links), 0..8);
            let changes = proptest::collection::vec((0u64..120, 0..links, 0u64..50), 0..4);
            (rates, transfers, changes)
        })
    ) {
        let until = 400;
        let found = play(&rates, &transfers, &changes, until);
        let (expected, carried) = integrate(&rates, &transfers, &changes, until);
        prop_assert_eq!(&found, &expected);
        if found.iter().all(Option::is_some) {
            prop_assert_eq!(carried, transfers.iter().map(|t| t.3).sum::<u64>());
        }
    }
}
