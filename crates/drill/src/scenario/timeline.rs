//! When each act of each repetition of each step is done, by variant.
//!
//! Not here: what is done.

use palisade_events::time::Micros;

use super::{Order, Scenario, Step, Variant};

/// One act of one repetition of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Due {
    /// After the scenario begins.
    pub(crate) at: Micros,
    /// Index of the step; twins follow the attack's.
    pub(crate) step: u16,
    pub(crate) repetition: u32,
    /// Index of the act.
    pub(crate) act: u16,
}

/// How much slower a quiet attacker is.
const QUIET: i64 = 4;

/// All of a scenario's acts, in order of time. What would last longer than `room` is run faster. Only the time between
/// repetitions is stretched or pressed: what a program does after it was started stays as it is.
pub(crate) fn timeline(scenario: &Scenario, variant: Variant, room: Micros) -> Vec<Due> {
    let few = matches!(variant, Variant::Quiet | Variant::Slow);
    // The beginnings of repetitions, with the step.
    let mut begun: Vec<(Micros, u16, u32, &Step)> = Vec::new();
    for (n, step) in (0u16..).zip(&scenario.steps) {
        for repetition in 0..if few { step.quiet_repeat } else { step.repeat } {
            begun.push((step.at.saturating_add(step.every.saturating_mul(i64::from(repetition))), n, repetition, step));
        }
    }
    let length = |begun: &[(Micros, u16, u32, &Step)]| begun.iter().map(|(at, ..)| *at).max().unwrap_or(0);
    match variant {
        Variant::Loud | Variant::Blinded => {}
        Variant::Quiet => begun.iter_mut().for_each(|(at, ..)| *at = at.saturating_mul(QUIET)),
        Variant::Slow => {
            let length = length(&begun).max(1);
            begun.iter_mut().for_each(|(at, ..)| *at = scaled(*at, scenario.slow_over.max(length), length));
        }
    }
    for (n, step) in (scenario.steps.len() as u16..).zip(&scenario.twins) {
        for repetition in 0..step.repeat {
            begun.push((step.at.saturating_add(step.every.saturating_mul(i64::from(repetition))), n, repetition, step));
        }
    }
    let longest = begun.iter().flat_map(|(.., step)| step.acts.iter().map(|act| act.after)).max().unwrap_or(0);
    let room = (room - longest).max(room / 2).max(1);
    let length = length(&begun);
    if length > room {
        begun.iter_mut().for_each(|(at, ..)| *at = scaled(*at, room, length));
    }
    let mut due = Vec::new();
    for (at, number, repetition, step) in begun {
        let turn = repetition as usize % step.acts.len().max(1);
        for (n, act) in (0u16..).zip(&step.acts) {
            if step.order == Order::All || usize::from(n) == turn {
                due.push(Due { at: at.saturating_add(act.after), step: number, repetition, act: n });
            }
        }
    }
    due.sort_by_key(|due| (due.at, due.step, due.repetition, due.act));
    due
}

fn scaled(at: Micros, to: Micros, from: Micros) -> Micros {
    (i128::from(at) * i128::from(to) / i128::from(from.max(1))) as Micros
}
