//! What becomes durable: what lanes made is queued, a cut takes it at one vector of offsets, and what landed is told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use palisade_events::{Lane, col};
use palisade_lake::Table;

use super::cut::{Cut, LaneBytes, LaneCut};
use super::{Input, Run, recovery};
use crate::clock;
use crate::engine::{LaneOutput, lane_key};
use crate::error::Result;

/// Batches that may wait for the encoder's queue.
const UNENCODED_MAX: usize = 64;
/// Bytes of batches, rejects, objects and findings that make a cut due, and that may wait while another one lands.
const PENDING_BYTES: usize = 512 << 20;
/// A finding in memory, roughly, once for the table and once for sinks.
pub(super) const FINDING_BYTES: usize = 4096;
/// A coverage fact in memory, roughly.
pub(super) const FACT_BYTES: usize = 512;
/// A version of an object in memory, roughly: its labels, addresses and images weigh most.
const OBJECT_BYTES: usize = 2048;

impl Run<'_> {
    /// Queues what a lane made, without what a table already has from before a crash.
    pub(super) fn take_output(&mut self, output: LaneOutput) -> Result<()> {
        self.metrics.count(&output.counts);
        self.metrics.count_redactions(&output.redactions);
        self.metrics.rule_findings.inc_by(output.findings.len() as u64);
        self.metrics.objects.inc_by(output.objects.len() as u64);
        self.summary.records += output.counts.records;
        self.summary.events += output.counts.events;
        self.summary.used += output.counts.used;
        self.summary.coverage += output.counts.coverage;
        self.summary.rejected += output.counts.rejected;
        self.summary.doubtful += output.counts.doubtful;
        self.summary.behind_frontier += output.behind_frontier;
        self.pending.records += output.counts.records;
        for reject in &output.rejects {
            *self.summary.reject_reasons.entry(reject.reason.clone()).or_default() += 1;
        }
        let key_of = |lane: &Lane| lane_key(lane);
        let landed = &self.landed;
        // What a lane's end made lies at records that landed long ago: it has a mark of its own.
        let ends_at = output.ends_at;
        let has_end = |table: Table| ends_at.is_some_and(|end| landed.end(table, &output.key) >= end);
        let from = |table: Table, key: &str| match ends_at {
            Some(_) if has_end(table) => i64::MAX,
            Some(_) => i64::MIN,
            None => landed.offset(table, key),
        };
        let new = |table: Table, lane: &Lane, offset: i64| {
            (offset < 0 && ends_at.is_none()) || offset >= from(table, &key_of(lane))
        };
        self.pending.bytes += output.rejects.iter().map(|reject| reject.raw.len() + 256).sum::<usize>();
        self.pending.bytes += output.findings.len() * FINDING_BYTES + output.coverage.len() * FACT_BYTES;
        self.pending.bytes += output.objects.len() * OBJECT_BYTES;
        if let Some(end) = ends_at.filter(|_| !output.is_empty()) {
            self.pending.ends.insert(output.key.clone(), end);
        }
        self.pending.rejects.extend(output.rejects.into_iter().filter(|r| new(Table::Rejects, &r.lane, r.offset)));
        self.pending.coverage.extend(output.coverage.into_iter().filter(|c| new(Table::Coverage, &c.lane, c.offset)));
        self.pending.objects.extend(output.objects.into_iter().filter(|o| new(Table::Objects, &o.lane, o.offset)));
        let findings_from = from(Table::Findings, &output.key);
        for (offset, finding) in output.findings {
            let is_suppressed = finding.suppressed_by.is_some();
            self.metrics.suppressed.inc_by(is_suppressed.into());
            if offset >= findings_from {
                self.pending.findings.push(finding.clone());
            }
            if !is_suppressed {
                self.pending.deliveries.push(finding);
            }
        }
        let from = from(Table::Events, &output.key);
        let events = output.events;
        let skip = if events.rows() == 0 || from == i64::MIN {
            0
        } else if from == i64::MAX {
            events.rows()
        } else {
            events.long(col::OFFSET).values().partition_point(|offset| *offset < from)
        };
        let fresh = if skip == 0 { events } else { events.slice(skip, events.rows() - skip) };
        if fresh.rows() > 0 {
            self.pending.bytes += fresh.columns().get_array_memory_size();
            self.pending.rows += fresh.rows();
            self.unencoded.push_back(fresh);
        }
        Ok(())
    }

    /// Passes batches on to the encoder while it has room.
    pub(super) fn encode(&mut self) -> Result<bool> {
        let mut any = false;
        while let Some(batch) = self.unencoded.pop_front() {
            match self.writer.offer(batch)? {
                None => any = true,
                Some(back) => {
                    self.unencoded.push_front(back);
                    break;
                }
            }
        }
        Ok(any)
    }

    /// Whether lanes must wait: for the encoder, or for a cut that lands slowly while enough waits for the next one.
    pub(super) fn is_behind(&self) -> bool {
        let next_is_full = self.pending.rows >= self.config.lake.commit_rows_max || self.pending.bytes >= PENDING_BYTES;
        self.unencoded.len() >= UNENCODED_MAX || (self.cut_in_flight.is_some() && next_is_full)
    }

    pub(super) fn cut_is_due(&self) -> bool {
        let anything = self.pending.records > 0 || self.pending.rows > 0 || !self.pending.coverage.is_empty();
        let due = self.last_cut.elapsed() >= clock::secs(self.config.lake.commit_interval_secs);
        self.cut_in_flight.is_none()
            && (self.engine.must_cut()
                || (anything
                    && (due
                        || self.pending.rows >= self.config.lake.commit_rows_max
                        || self.pending.bytes >= PENDING_BYTES)))
    }

    pub(super) fn has_news(&self) -> bool {
        self.pending.records > 0
            || self.pending.rows > 0
            || !self.pending.coverage.is_empty()
            || !self.pending.findings.is_empty()
            || self.engine.must_cut()
    }

    /// Begins a cut: all lanes are home, and what they stand at becomes durable together.
    pub(super) fn cut(&mut self) -> Result<()> {
        while !self.unencoded.is_empty() {
            // The cut's rows must be before it in the encoder's queue.
            if !self.encode()? {
                self.note_landed(Duration::from_millis(2))?;
            }
        }
        let number = self.cut_number;
        self.cut_number += 1;
        let mut decisions = self.engine.take_decisions(&self.config.job, number, self.plan.fingerprint());
        if std::mem::take(&mut self.repeated) {
            // They are in the table already, under the cut that did not land.
            decisions.retain(|d| !d.kind.is_binding());
        }
        let state = self.engine.snapshot()?;
        let pending = std::mem::take(&mut self.pending);
        self.outbox.add(pending.deliveries);
        let mut pieces = state.pieces;
        if let Some(piece) = self.outbox.piece()? {
            pieces.push(piece);
        }
        if let Some(replay) = &self.replay {
            pieces.push(recovery::replay_piece(replay)?);
        }
        let mut cut = Cut {
            number,
            decisions,
            files: std::mem::take(&mut self.corrections),
            limbo: self.landed.limbo.clone(),
            rejects: pending.rejects,
            coverage: pending.coverage,
            objects: pending.objects,
            findings: pending.findings,
            frontier: state.frontier,
            ends: pending.ends,
            facts: pending.facts,
            silent: pending.silent,
            offsets: BTreeMap::new(),
            lanes: BTreeMap::new(),
            pieces,
            accounting: self.accounting(),
            fingerprint: self.plan.fingerprint().to_owned(),
            created_us: clock::wall_us(),
        };
        cut.lanes.extend(self.parked.iter().map(|(key, parked)| (key.clone(), parked.clone())));
        for (key, (next, bytes)) in state.lanes {
            let Some(post) = self.posts.get(&key) else { continue };
            match &self.inputs[post.input] {
                Input::Files(_) if self.ledgered.get(&key) == Some(&next) => {}
                Input::Files(source) => match recovery::ledger_row(source, &post.lane, next, number) {
                    Some(row) => {
                        cut.files.push(row);
                        self.ledgered.insert(key.clone(), next);
                    }
                    None => drop(cut.offsets.insert(key.clone(), next)),
                },
                Input::Stream(_) => drop(cut.offsets.insert(key.clone(), next)),
            }
            let (lane, fingerprint) = (Arc::clone(&post.lane), self.plan.fingerprint().to_owned());
            cut.lanes.insert(key, LaneCut { lane, next_offset: next, state: LaneBytes::Now(bytes), fingerprint });
        }
        self.summary.findings += cut.findings.len() as u64;
        self.summary.suppressed += cut.findings.iter().filter(|f| f.suppressed_by.is_some()).count() as u64;
        self.cut_vector = self.engine.vector();
        self.writer.cut(cut)?;
        self.cut_in_flight = Some(number);
        self.last_cut = clock::now();
        Ok(())
    }

    /// The row-accounting identity, over all lanes, at the vector of the cut.
    fn accounting(&self) -> serde_json::Value {
        let accounts = self.engine.accounts();
        self.metrics.set_accounts(&accounts);
        for (uid, what, count) in self.engine.gauges() {
            self.metrics.set_detector(uid, what, count);
        }
        self.metrics.accounts_balance.set(i64::from(accounts.balance()));
        if !accounts.balance() {
            tracing::error!(?accounts, "records in are not used + coverage + rejected + held");
        }
        serde_json::to_value(accounts).unwrap_or_default()
    }

    /// Learns that a cut landed: offsets for lag tools, findings for sinks.
    pub(super) fn note_landed(&mut self, wait: Duration) -> Result<bool> {
        let Some(number) = self.writer.landed(wait)? else {
            let moved = self.outbox.deliver();
            if moved {
                self.metrics.outbox.set(i64::try_from(self.outbox.waiting()).unwrap_or(i64::MAX));
            }
            return Ok(moved);
        };
        self.cut_in_flight = None;
        self.summary.cut = number;
        for index in 0..self.inputs.len() {
            let own = self.posts.iter().filter(|(_, post)| post.input == index);
            let next = own.filter_map(|(key, p)| Some((Arc::clone(&p.lane), *self.cut_vector.get(key)?)));
            let next: Vec<_> = next.collect();
            self.inputs[index].source().landed(&next);
        }
        self.outbox.landed();
        self.outbox.deliver();
        self.metrics.outbox.set(i64::try_from(self.outbox.waiting()).unwrap_or(i64::MAX));
        Ok(true)
    }
}
