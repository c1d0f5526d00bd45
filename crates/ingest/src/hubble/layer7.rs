//! Requests and answers inside of connections: DNS, HTTP and Kafka, as Cilium's proxies saw them.
//!
//! Protobuf leaves out what is zero: an answer of DNS without a code is one without errors.

use palisade_events::{EventBuilder, col};

use super::put_some;
use crate::activity::{Activity, DNS, HTTP};
use crate::json::Value;
use crate::put::{self, first, int, text, word};

/// A kind of object in what is told of a request.
#[derive(Clone, Copy)]
pub(super) enum Part {
    Layer7,
    Dns,
    Http,
    Kafka,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Dns,
    Http,
    Kafka,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Message {
    Request,
    Response,
}

/// A request, or the answer to one.
#[derive(Default)]
pub(super) struct Layer7<'i> {
    list_items_max: usize,
    /// Something was left out.
    pub(super) cut: bool,
    protocol: Option<Protocol>,
    message: Option<Message>,
    method: Option<&'i str>,
    code: Option<i64>,
    rcode: Option<i64>,
    names: Vec<&'i str>,
    addresses: Vec<&'i str>,
}

impl<'i> Layer7<'i> {
    pub(super) fn new(list_items_max: usize) -> Self {
        Self { list_items_max, ..Self::default() }
    }

    /// Takes what `key` holds in a part, and says which part lies beneath.
    pub(super) fn key(&mut self, part: Part, key: &str, value: Value<'_, 'i>, row: &mut EventBuilder) -> Option<Part> {
        match part {
            Part::Layer7 => return self.layer7_key(key, value),
            Part::Dns => self.dns_key(key, value, row),
            Part::Http => self.http_key(key, value, row),
            Part::Kafka => match key {
                // The name of the request, under a name that redaction takes for a secret's.
                "api_key" => put_some(row, col::API_OPERATION, value.text().filter(|name| !name.starts_with('<'))),
                "topic" => text(row, col::RESOURCE_NAME, value),
                "error_code" => int(row, col::API_RESPONSE_CODE, value),
                _ => {}
            },
        }
        None
    }

    fn layer7_key(&mut self, key: &str, value: Value<'_, 'i>) -> Option<Part> {
        let (protocol, part) = match key {
            "type" => {
                self.message = match (value.str(), value.int()) {
                    (Some("REQUEST"), _) | (_, Some(1)) => Some(Message::Request),
                    (Some("RESPONSE"), _) | (_, Some(2)) => Some(Message::Response),
                    _ => None,
                };
                return None;
            }
            "dns" => (Protocol::Dns, Part::Dns),
            "http" => (Protocol::Http, Part::Http),
            "kafka" => (Protocol::Kafka, Part::Kafka),
            _ => return None,
        };
        if !value.is_object() {
            return None;
        }
        self.protocol = Some(protocol);
        Some(part)
    }

    fn dns_key(&mut self, key: &str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        let answers = match key {
            "query" => {
                if let Some(query) = value.text() {
                    put::dns_name(row, col::DNS_QUERY, query);
                }
                return;
            }
            "qtypes" => return put_some(row, col::DNS_QUERY_TYPE, value.items().find_map(Value::text)),
            "rcode" => {
                self.rcode = value.int();
                return;
            }
            "cnames" => &mut self.names,
            "ips" => &mut self.addresses,
            _ => return,
        };
        answers.extend(value.items().filter_map(Value::text).take(self.list_items_max));
        self.cut |= value.items().nth(self.list_items_max).is_some();
    }

    fn http_key(&mut self, key: &str, value: Value<'_, 'i>, row: &mut EventBuilder) {
        match key {
            "code" => self.code = value.int().filter(|&code| code > 0),
            "method" => first(&mut self.method, value),
            "url" => {
                if let Some(url) = value.text() {
                    row.put_text(col::HTTP_URL_PATH, path_of(url));
                }
            }
            "headers" => {
                let mut headers = value.items().take(self.list_items_max);
                let agent = headers.find(|header| {
                    header.get("key").and_then(Value::str).is_some_and(|key| key.eq_ignore_ascii_case("user-agent"))
                });
                if let Some(agent) = agent.and_then(|header| header.get("value")) {
                    word(row, col::HTTP_USER_AGENT, agent);
                }
            }
            _ => {}
        }
    }

    /// What it is, if it is more than a part of a connection.
    pub(super) fn activity(&self) -> Option<Activity> {
        match self.protocol? {
            Protocol::Dns => {
                let id = match self.message {
                    Some(Message::Request) => 1,
                    Some(Message::Response) => 2,
                    None => 6,
                };
                Some(Activity::new(DNS, id))
            }
            Protocol::Http => Some(self.method.map_or(Activity::new(HTTP, 0), Activity::of_method)),
            Protocol::Kafka => None,
        }
    }

    /// Whether it failed, as far as an answer tells.
    pub(super) fn failed(&self) -> Option<bool> {
        let is_answer = self.message == Some(Message::Response);
        match self.protocol? {
            Protocol::Http => self.code.map(|code| code >= 400),
            Protocol::Dns => is_answer.then(|| self.rcode.unwrap_or(0) != 0),
            Protocol::Kafka => None,
        }
    }

    /// Fills what several parts of it decide together.
    pub(super) fn put(&self, row: &mut EventBuilder) {
        put_some(row, col::HTTP_METHOD, self.method);
        if let Some(code) = self.code.and_then(|code| i32::try_from(code).ok()) {
            row.put_int(col::API_RESPONSE_CODE, code);
        }
        match self.protocol {
            Some(Protocol::Dns) => self.put_dns(row),
            Some(Protocol::Kafka) => {
                row.put_word(col::RESOURCE_TYPE, "topics");
                row.put_word(col::API_SERVICE_NAME, "kafka");
            }
            Some(Protocol::Http) | None => {}
        }
    }

    fn put_dns(&self, row: &mut EventBuilder) {
        if !self.names.is_empty() || !self.addresses.is_empty() {
            let names: Vec<_> = self.names.iter().map(|name| put::bare_name(name)).collect();
            row.put_words(col::DNS_ANSWERS, names.iter().map(|name| &**name).chain(self.addresses.iter().copied()));
        }
        let code = self.rcode.or((self.message == Some(Message::Response)).then_some(0));
        if let Some(code) = code {
            match rcode_name(code) {
                Some(name) => row.put_word(col::DNS_RCODE, name),
                None => row.put_word(col::DNS_RCODE, &code.to_string()),
            }
        }
    }
}

/// Path and query of a URL; a text that is no URL is one.
fn path_of(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return url };
    rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/")
}

/// Names of answer codes (IANA, DNS RCODEs).
fn rcode_name(code: i64) -> Option<&'static str> {
    Some(match code {
        0 => "NOERROR",
        1 => "FORMERR",
        2 => "SERVFAIL",
        3 => "NXDOMAIN",
        4 => "NOTIMP",
        5 => "REFUSED",
        6 => "YXDOMAIN",
        7 => "YXRRSET",
        8 => "NXRRSET",
        9 => "NOTAUTH",
        10 => "NOTZONE",
        _ => return None,
    })
}
