//! The bill of each policy by account of the ledger.

use super::NAME_MOST;
use super::canvas::{Anchor, Canvas, Colour, INK, QUIET, shortened};
use super::palette::phase_colour;
use crate::outcome::{Account, Phase};
use crate::report::document::PolicyDoc;
use crate::report::format;

const WIDTH: u32 = 760;
const NAMES: f64 = 190.0;
const BILLS: f64 = 80.0;
const ROW: f64 = 30.0;
const KEYS: f64 = 180.0;

const fn colour(account: Account) -> Colour {
    match account {
        Account::Unallocated => (200, 204, 210),
        Account::StartUp(phase) => phase_colour(phase),
        Account::ServingBusy => phase_colour(Phase::Serving),
        Account::ServingIdle => (130, 178, 214),
        Account::Held => phase_colour(Phase::Held),
        Account::Draining => phase_colour(Phase::Draining),
    }
}

pub(super) fn draw(policies: &[&PolicyDoc]) -> Option<Canvas> {
    let total = |policy: &PolicyDoc| policy.summary.ledger.values().map(|account| account.usd).sum::<f64>();
    let most = policies.iter().map(|policy| total(policy)).fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let occurs = |account: &Account| {
        let label = account.label();
        policies.iter().any(|policy| policy.summary.ledger.get(&label).is_some_and(|line| line.usd > 0.0))
    };
    let accounts: Vec<Account> = Account::ALL.into_iter().filter(occurs).collect();
    let columns = (f64::from(WIDTH) / KEYS) as usize;
    let keys = accounts.len().div_ceil(columns) as f64 * 18.0;
    let bars = ROW * policies.len() as f64;
    let mut canvas = Canvas::new(
        WIDTH,
        (bars + keys + 24.0) as u32,
        "The bill of a run by account of the ledger, for each policy",
    );
    let axis = super::axis::Axis::linear((0.0, most), (NAMES, f64::from(WIDTH) - BILLS));
    for (index, policy) in policies.iter().enumerate() {
        let y = ROW * (index as f64 + 0.5) + 4.0;
        canvas.text((0.0, y), shortened(&policy.name, NAME_MOST), 12.0, INK, Anchor::Start);
        let mut sum = 0.0;
        for account in &accounts {
            let usd = policy.summary.ledger.get(&account.label()).map_or(0.0, |line| line.usd);
            canvas.block((axis.at(sum), y - 9.0), (axis.at(sum + usd), y + 9.0), colour(*account), 1.0);
            sum += usd;
        }
        let bill = format::value(crate::experiment::metric::Unit::Usd, sum);
        canvas.text((axis.at(sum) + 8.0, y), bill, 12.0, INK, Anchor::Start);
    }
    for (index, account) in accounts.iter().enumerate() {
        let (x, y) = ((index % columns) as f64 * KEYS, bars + 20.0 + (index / columns) as f64 * 18.0);
        canvas.block((x, y - 5.0), (x + 10.0, y + 5.0), colour(*account), 1.0);
        canvas.text((x + 16.0, y), account.label(), 11.0, QUIET, Anchor::Start);
    }
    Some(canvas)
}
