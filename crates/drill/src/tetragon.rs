//! Tetragon's export: what a process did, with the process and its parent in full, in the key order of its protobuf.
//!
//! A process has the same `exec_id` wherever it is named: what that is made of follows from the process alone. Not here:
//! which files are watched, and by which hook in the kernel (see [`watched`]), nor what happens (see `act`).

use palisade_events::time::Micros;

use self::told::{Told, stamp};
use self::watched::Argument;
use crate::act::{Access, Connect, Outcome, Process, Touch, Transport};
use crate::cluster::Cluster;
use crate::ends::address;
use crate::record::{Label, Stream};
use crate::text::{number, plain};
use crate::wire::Wire;

mod told;
mod watched;

/// A function of the kernel that a policy watches, as it was called.
struct Call {
    function: &'static str,
    policy: &'static str,
    /// Of functions whose return value is watched too.
    returned: Option<i64>,
    /// Calls that Tetragon made one event of.
    count: u64,
}

impl Wire {
    /// A program starts.
    pub(crate) fn tetragon_exec(&mut self, cluster: &Cluster, process: &Process<'_>, label: Option<Label>) {
        let Some(told) = Told::new(cluster, process) else { return };
        self.buffer.push_str("{\"process_exec\":{");
        told.put(&mut self.buffer, 1);
        self.send_tetragon(&told, process.started, 1, label);
    }

    /// A program that was told of ends by itself.
    pub(crate) fn tetragon_exit(&mut self, cluster: &Cluster, at: Micros, process: &Process<'_>, label: Option<Label>) {
        let Some(told) = Told::new(cluster, process) else { return };
        let out = &mut self.buffer;
        out.push_str("{\"process_exit\":{");
        told.put(out, 0);
        out.push_str(",\"time\":\"");
        stamp(out, at, Some(told.nanos(at)));
        out.push('"');
        self.send_tetragon(&told, at, 1, label);
    }

    /// A process touches a file. Nothing is told of files that no policy watches; mounts are watched everywhere.
    pub(crate) fn tetragon_touch(&mut self, cluster: &Cluster, at: Micros, touch: &Touch<'_>, label: Option<Label>) {
        let policy = if touch.access == Access::Mount { Some("mounts") } else { watched::policy(touch.path) };
        let Some(policy) = policy else { return };
        let Some(told) = Told::new(cluster, &touch.by) else { return };
        let hook = watched::hook(touch);
        let call = Call { function: hook.function, policy, returned: Some(hook.returned), count: 1 };
        let arguments = |out: &mut String| Argument::put_all(&hook.arguments, out);
        self.send_call(&told, at, &call, arguments, label);
        if let Some(module) = watched::module(touch).filter(|_| touch.outcome == Outcome::Success) {
            let call = Call { function: "do_init_module", policy, returned: None, count: 1 };
            let arguments = |out: &mut String| Argument::put_all(&[Argument::Module(module)], out);
            self.send_call(&told, at + 400, &call, arguments, label);
        }
    }

    /// A process makes a TCP connection. What the network makes of it Tetragon does not see; nor which process it was,
    /// where none is known.
    pub(crate) fn tetragon_connect(
        &mut self,
        cluster: &Cluster,
        at: Micros,
        connect: &Connect<'_>,
        label: Option<Label>,
    ) {
        let Some(by) = connect.by.as_ref().filter(|_| connect.transport == Transport::Tcp) else { return };
        let Some(told) = Told::new(cluster, by) else { return };
        let [from, to] = [connect.from, connect.to].map(|end| address(cluster, end));
        let call = Call { function: "tcp_connect", policy: "connections", returned: None, count: connect.count };
        // The kernel numbers sockets by where they lie in its memory.
        let cookie = told::mixed(at as u64 ^ connect.source_port << 48) & 0x7fff_ffff_ffc0 | 0xffff_8000_0000_0000;
        let arguments = |out: &mut String| {
            out.push_str("{\"sock_arg\":{\"family\":\"AF_INET");
            out.push_str(if to.contains(':') { "6" } else { "" });
            out.push_str("\",\"type\":\"SOCK_STREAM\",\"protocol\":\"IPPROTO_TCP\",\"saddr\":\"");
            plain(out, from);
            out.push_str("\",\"daddr\":\"");
            plain(out, to);
            out.push_str("\",\"sport\":");
            number(out, connect.source_port);
            out.push_str(",\"dport\":");
            number(out, connect.port);
            out.push_str(",\"cookie\":\"");
            number(out, cookie);
            out.push_str("\",\"state\":\"TCP_SYN_SENT\"}}");
        };
        self.send_call(&told, at, &call, arguments, label);
    }

    /// Tetragon tells how many events were over the limit of its export since it told so last. Of none it is silent.
    pub(crate) fn tetragon_lost(&mut self, cluster: &Cluster, at: Micros, node: usize, count: u64) {
        let Some(host) = cluster.nodes.get(node).map(|node| node.name.as_str()).filter(|_| count > 0) else { return };
        let out = &mut self.buffer;
        out.push_str("{\"rate_limit_info\":{\"number_of_dropped_process_events\":\"");
        number(out, count);
        out.push_str("\"},\"node_name\":\"");
        plain(out, host);
        out.push_str("\",\"time\":\"");
        stamp(out, at, Some(told::nanos_of(at, count)));
        out.push_str("\"}");
        self.send_node(Stream::Tetragon, node, at, host, None);
    }

    fn send_call(
        &mut self,
        told: &Told<'_>,
        at: Micros,
        call: &Call,
        arguments: impl FnOnce(&mut String),
        label: Option<Label>,
    ) {
        let out = &mut self.buffer;
        out.push_str("{\"process_kprobe\":{");
        told.put(out, 1);
        out.push_str(",\"function_name\":\"");
        out.push_str(call.function);
        out.push_str("\",\"args\":[");
        arguments(out);
        out.push(']');
        if let Some(returned) = call.returned {
            out.push_str(",\"return\":");
            Argument::Number(returned).put(out);
        }
        out.push_str(",\"action\":\"KPROBE_ACTION_POST\",\"policy_name\":\"");
        out.push_str(call.policy);
        out.push_str("\",\"return_action\":\"KPROBE_ACTION_POST\"");
        self.send_tetragon(told, at, call.count, label);
    }

    /// Ends the event and the document, and sends it.
    fn send_tetragon(&mut self, told: &Told<'_>, at: Micros, count: u64, label: Option<Label>) {
        let out = &mut self.buffer;
        out.push_str("},\"node_name\":\"");
        plain(out, told.host);
        out.push_str("\",\"time\":\"");
        stamp(out, at, Some(told.nanos(at)));
        out.push('"');
        if count > 1 {
            out.push_str(",\"aggregation_info\":{\"count\":\"");
            number(out, count);
            out.push_str("\"}");
        }
        out.push('}');
        self.send_node(Stream::Tetragon, told.node, at, told.host, label);
    }
}

#[cfg(test)]
mod tests;
