//! The engine's state as pieces of bytes, and back: what a manifest points to.

use std::collections::BTreeMap;

use palisade_events::Detector;
use palisade_events::time::Micros;
use serde::{Deserialize, Serialize};

use super::belief::Beliefs;
use super::lane::{LaneSnapshot, LossWindow};
use super::silence::Heard;
use super::{Attendance, Engine, LaneKey, Restore, Seat};
use crate::error::{Error, Result};

/// What a checkpoint holds of an engine.
#[derive(Debug, Default)]
pub struct EngineState {
    /// Per lane: next offset and state.
    pub lanes: BTreeMap<LaneKey, (i64, Vec<u8>)>,
    /// Named pieces of the detectors' and the engine's own state.
    pub pieces: Vec<(String, Vec<u8>)>,
    /// End of the last closed pane.
    pub frontier: Option<Micros>,
}

/// First byte of a lane's stored state: the version of the layout of what follows. Looked at before anything is read.
const SEAT_VERSION: u8 = 6;
/// The version before, which ended where what the lane is believed now follows. It is still read, and says nothing of that.
const SEAT_VERSION_UNBELIEVED: u8 = 5;
/// The version before that one, which ended where what the lane has heard of now follows. It is still read.
const SEAT_VERSION_UNHEARD: u8 = 4;

#[derive(Serialize, Deserialize)]
struct SeatSnapshot {
    attendance: Attendance,
    losses: Vec<LossWindow>,
    lane: LaneSnapshot,
}

impl Engine {
    /// State of all lanes and detectors. All lanes must be at home.
    ///
    /// # Errors
    /// When a lane is out, or a stage cannot write its state.
    pub fn snapshot(&self) -> Result<EngineState> {
        let mut state = EngineState { frontier: self.frontier, ..EngineState::default() };
        for (key, seat) in &self.seats {
            let work = seat.work.as_ref().ok_or_else(|| Error::State(format!("lane {key} is not at home")))?;
            let snapshot =
                SeatSnapshot { attendance: seat.attendance, losses: seat.losses.clone(), lane: work.snapshot()? };
            if let Some(next) = seat.next_offset {
                let bytes = postcard::to_extend(&(snapshot, work.heard(), work.beliefs()), vec![SEAT_VERSION]);
                state.lanes.insert(key.clone(), (next, bytes.map_err(|e| Error::State(e.to_string()))?));
            }
        }
        for detector in &self.detectors {
            for (name, bytes) in detector.snapshot()? {
                state.pieces.push((format!("{}/{name}", detector.uid()), bytes));
            }
        }
        state.pieces.extend(self.silences.snapshot()?);
        Ok(state)
    }

    /// Restores the detectors and the frontier. Lanes are restored as they join.
    ///
    /// # Errors
    /// When a piece is damaged.
    pub fn restore(&mut self, frontier: Option<Micros>, pieces: &[(String, Vec<u8>)], how: Restore) -> Result<()> {
        self.frontier = frontier;
        match self.silences.restore(pieces) {
            Err(error) if how == Restore::WhatFits => {
                tracing::warn!(%error, "the configuration has changed: sources are listened to anew");
            }
            outcome => outcome?,
        }
        for detector in &mut self.detectors {
            match restore_detector(detector.as_mut(), pieces) {
                Err(error) if how == Restore::WhatFits => {
                    let detector = detector.uid();
                    tracing::warn!(detector, %error, "the configuration has changed: this detector starts anew");
                }
                outcome => outcome?,
            }
        }
        Ok(())
    }
}

impl Seat {
    pub(super) fn restore(&mut self, state: &[u8], detectors: &[Box<dyn Detector>], how: Restore) -> Result<()> {
        let damaged = |why: String| Error::State(format!("lane {}: {why}", self.lane));
        let (version, state) = state.split_first().ok_or_else(|| damaged("its state is empty".into()))?;
        let read: Result<(SeatSnapshot, Option<Heard>, Beliefs), _> = match *version {
            SEAT_VERSION => postcard::from_bytes(state),
            SEAT_VERSION_UNBELIEVED => {
                postcard::from_bytes(state).map(|(snapshot, heard)| (snapshot, heard, Beliefs::default()))
            }
            SEAT_VERSION_UNHEARD => postcard::from_bytes(state).map(|snapshot| (snapshot, None, Beliefs::default())),
            _ => return Err(damaged(format!("its state has version {version}, this program reads {SEAT_VERSION}"))),
        };
        let (snapshot, heard, beliefs) = read.map_err(|e| damaged(e.to_string()))?;
        // A silent lane stays silent until it is woken, so that panes close where they closed before.
        self.attendance = snapshot.attendance;
        self.losses = snapshot.losses;
        if let Some(work) = &mut self.work {
            work.set_folds(detectors.iter().map(|d| (d.uid().to_owned(), d.lane())).collect());
            work.restore(snapshot.lane, how)?;
            work.restore_heard(heard);
            work.restore_beliefs(beliefs);
            self.next_offset = work.next_offset();
            self.watermark = work.watermark();
        }
        Ok(())
    }
}

fn restore_detector(detector: &mut dyn Detector, pieces: &[(String, Vec<u8>)]) -> Result<()> {
    let prefix = format!("{}/", detector.uid());
    let own: Vec<(String, Vec<u8>)> = pieces
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(&prefix)?.to_owned(), bytes.clone())))
        .collect();
    Ok(detector.restore(&own)?)
}
