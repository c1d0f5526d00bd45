//! Files that grow, rotate, are packed or break off, read once and resumed at any record.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression as Level;
use flate2::write::GzEncoder;
use serde_json::Value;
use tempfile::TempDir;

use super::*;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Level::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, bytes) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
    folder
}

/// What a source said, in order.
#[derive(Debug, Default)]
struct Heard {
    /// (file name, generation, record, line, text, again)
    records: Vec<(String, u32, i64, i64, String, bool)>,
    joined: Vec<String>,
    facts: Vec<String>,
    caught_up: usize,
    chunks: usize,
    known: Vec<KnownFile>,
}

impl Heard {
    fn texts(&self) -> Vec<&str> {
        self.records.iter().map(|r| r.4.as_str()).collect()
    }
}

fn base(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |n| n.to_string_lossy().into_owned())
}

fn open(path: &Path, known: &[KnownFile], settings: FileSettings) -> FileSource {
    FileSource::new("files", &[path.to_path_buf()], known, settings).unwrap()
}

/// Reads to the end; `start` gives each lane's first record.
fn drain(source: &mut FileSource, start: impl Fn(&Lane) -> Option<i64>) -> Heard {
    let mut heard = Heard::default();
    let mut lanes: Vec<(Arc<Lane>, i64)> = Vec::new();
    loop {
        match source.next(Duration::ZERO).unwrap() {
            Signal::Joined(joined) => {
                for lane in joined {
                    heard.joined.push(base(&lane.origin));
                    source.start(&[(Arc::clone(&lane), start(&lane).map(Resume::at))]).unwrap();
                    let known = source.lanes[source.find(&lane).unwrap()].file.known.as_ref();
                    let next = start(&lane).or(known.map(|k| k.records)).unwrap_or(0);
                    lanes.push((lane, next));
                }
            }
            Signal::Records(chunk) => {
                heard.chunks += 1;
                for record in &chunk.records {
                    let text = String::from_utf8_lossy(chunk.payload(record)).into_owned();
                    let name = base(&chunk.lane.origin);
                    let line = record.line.unwrap();
                    heard.records.push((name, chunk.lane.generation, record.offset, line, text, record.again));
                }
                let next = chunk.records.last().unwrap().offset + 1;
                // The end of every chunk is a place where a run can be cut.
                assert!(source.progress(&chunk.lane, next).is_some());
                lanes.iter_mut().filter(|(lane, _)| *lane == chunk.lane).for_each(|(_, n)| *n = next);
            }
            Signal::CaughtUp(_) => heard.caught_up += 1,
            Signal::Fact(fact) => heard.facts.push(fact.detail),
            Signal::Finished => break,
            other => panic!("{other:?}"),
        }
    }
    heard.known = lanes.iter().filter_map(|(lane, next)| source.progress(lane, *next)).collect();
    heard
}

fn read(path: &Path, known: &[KnownFile]) -> Heard {
    drain(&mut open(path, known, FileSettings::default()), |_| None)
}

#[test]
fn lines_are_cut_alike_however_the_file_is_written_and_packed() {
    let members = [gzip(b"one\ntw"), gzip(b"o\n\nthree")].concat();
    let frames =
        [zstd::encode_all(&b"one\ntwo"[..], 3).unwrap(), zstd::encode_all(&b"\n\nthree"[..], 3).unwrap()].concat();
    for (case, bytes) in [
        ("plain", b"one\ntwo\n\nthree\n".to_vec()),
        ("no last newline", b"one\ntwo\n\nthree".to_vec()),
        ("carriage returns", b"one\r\ntwo\r\n\r\nthree\r\n".to_vec()),
        ("byte order mark", b"\xef\xbb\xbfone\ntwo\n\nthree\n".to_vec()),
        ("gzip of two members", members),
        ("zstd of two frames", frames),
    ] {
        let folder = folder(&[("log", &bytes)]);
        let heard = read(folder.path(), &[]);
        let seen: Vec<_> = heard.records.iter().map(|r| (r.2, r.3, r.4.as_str())).collect();
        assert_eq!(seen, [(0, 1, "one"), (1, 2, "two"), (2, 4, "three")], "{case}");
        assert_eq!((heard.caught_up, heard.facts.len()), (1, 0), "{case}");
    }
}

#[test]
fn a_file_of_the_same_content_is_read_once_whatever_its_name_and_packing() {
    let text = b"first\nsecond\n";
    let folder = folder(&[
        ("a.log", text),
        ("b.log.gz", &gzip(text)),
        ("sub/c.copy", text),
        ("sub/d.longer", b"first\nsecond\nthird\n"),
        (".hidden", b"hidden\n"),
        ("empty", b"\n\n"),
    ]);
    let heard = read(folder.path(), &[]);
    assert_eq!(heard.texts(), ["first", "second", "third"]);
    assert_eq!(heard.joined, ["d.longer"]);
}

#[test]
fn files_that_share_a_first_line_are_told_apart_by_generation_in_path_order() {
    let folder = folder(&[("a", b"head\n1\n"), ("b", b"head\n2\n"), ("c", b"head\n3\n")]);
    let first = read(folder.path(), &[]);
    let generations: Vec<_> = first.records.iter().map(|r| (r.0.as_str(), r.1)).collect();
    assert_eq!(generations, [("a", 0), ("a", 0), ("b", 1), ("b", 1), ("c", 2), ("c", 2)]);
    // Renamed so that the path order turns, they keep their generations, and a new one gets the next.
    fs::rename(folder.path().join("a"), folder.path().join("z")).unwrap();
    fs::write(folder.path().join("A"), b"head\n4\n").unwrap();
    let second = read(folder.path(), &first.known);
    assert_eq!(second.records.iter().map(|r| (r.0.as_str(), r.1, r.2)).collect::<Vec<_>>(), [("A", 3, 0), ("A", 3, 1)]);
    assert_eq!(second.known.len(), 4);
}

#[test]
fn a_rotated_packed_and_grown_file_goes_on_where_it_was_left() {
    let folder = folder(&[("audit.log", b"1\n2\n")]);
    let first = read(folder.path(), &[]);
    assert_eq!(first.texts(), ["1", "2"]);
    fs::remove_file(folder.path().join("audit.log")).unwrap();
    fs::write(folder.path().join("audit.log.1.gz"), gzip(b"1\n2\n3\n")).unwrap();
    fs::write(folder.path().join("audit.log"), b"4\n").unwrap();
    let second = read(folder.path(), &first.known);
    let seen: Vec<_> = second.records.iter().map(|r| (r.0.as_str(), r.2, r.3, r.4.as_str())).collect();
    assert_eq!(seen, [("audit.log", 0, 1, "4"), ("audit.log.1.gz", 2, 3, "3")]);
    assert_eq!(second.known[1].compression, Compression::Gzip);
    assert_eq!(second.known[1].fingerprint, first.known[0].fingerprint);
    assert_eq!(read(folder.path(), &second.known).texts(), [""; 0]);
}

#[test]
fn an_unfinished_last_line_is_delivered_again_only_when_it_grew() {
    for (grown, expected) in [
        (&b"1\nhalf"[..], vec![]),
        (b"1\nhalf\n", vec![]),
        (b"1\nhalf\r\n", vec![]),
        (b"1\nhalf\n3\n", vec![(2, 3, "3")]),
        (b"1\nhalf and the rest\n3", vec![(2, 2, "half and the rest"), (3, 3, "3")]),
        (b"1\nhalf!", vec![(2, 2, "half!")]),
    ] {
        let folder = folder(&[("log", b"1\nhalf")]);
        let first = read(folder.path(), &[]);
        assert_eq!(first.texts(), ["1", "half"]);
        fs::write(folder.path().join("log"), grown).unwrap();
        let second = read(folder.path(), &first.known);
        let seen: Vec<_> = second.records.iter().map(|r| (r.2, r.3, r.4.as_str())).collect();
        assert_eq!(seen, expected, "{}", String::from_utf8_lossy(grown));
        // And the run after that finds nothing new.
        assert_eq!(read(folder.path(), &second.known).records.len(), 0);
    }
}

#[test]
fn an_unfinished_document_is_delivered_again_only_when_it_grew() {
    let half = "{}\n[\n{\"a\":1},\n{\"b\"";
    for (left, grown, expected) in [
        (half, "", vec![]),
        (half, "\n", vec![]),
        (half, "\r\n\r\n", vec![]),
        (half, ":2}\n]\n", vec![(2, 2, "[\n{\"a\":1},\n{\"b\":2}\n]")]),
        (half, "\n:2}\n]\n{}\n", vec![(2, 2, "[\n{\"a\":1},\n{\"b\"\n:2}\n]"), (3, 7, "{}")]),
        // It cannot go on like this: what was delivered was all of it.
        (half, "\n{\"c\":3}\n", vec![(2, 5, "{\"c\":3}")]),
        ("{}\n[\n{\"a\":1}\n", "", vec![]),
        ("{}\n[\n{\"a\":1}\n", "\n\n", vec![]),
        ("{}\n[\n{\"a\":1}\n", "]", vec![(2, 2, "[\n{\"a\":1}\n]")]),
        ("{}\n[\n{\"a\":1}\n\n", "]\n{}", vec![(2, 2, "[\n{\"a\":1}\n\n]"), (3, 6, "{}")]),
        ("{}\n[\n{\"a\":1}\n", "{}\n", vec![(2, 4, "{}")]),
        // A line that looks whole, and is not.
        ("{}\n{\"a\":{}\n", "}\n{}\n", vec![(2, 2, "{\"a\":{}\n}"), (3, 4, "{}")]),
        ("{}\n[\n1\n]", "\n{}\n", vec![(2, 5, "{}")]),
    ] {
        let folder = folder(&[("log", left.as_bytes())]);
        let first = read(folder.path(), &[]);
        assert_eq!(first.texts(), ["{}", left[3..].trim_end()]);
        fs::write(folder.path().join("log"), format!("{left}{grown}")).unwrap();
        let second = read(folder.path(), &first.known);
        let seen: Vec<_> = second.records.iter().map(|r| (r.2, r.3, r.4.as_str())).collect();
        assert_eq!(seen, expected, "{left:?} {grown:?}");
        assert_eq!(read(folder.path(), &second.known).records.len(), 0);
    }
}

#[test]
fn a_file_whose_first_record_grew_is_read_as_another_one() {
    let folder = folder(&[("log", b"[\n1,\n")]);
    let first = read(folder.path(), &[]);
    assert_eq!(first.texts(), ["[\n1,"]);
    fs::write(folder.path().join("log"), b"[\n1,\n2\n]\n{}\n").unwrap();
    let second = read(folder.path(), &first.known);
    assert_eq!(second.texts(), ["[\n1,\n2\n]", "{}"]);
    assert_ne!(second.known[0].fingerprint, first.known[0].fingerprint);
    // Longer than a fingerprint reaches, it keeps its identity.
    let long = format!("[\n{}", "1,\n".repeat(50_000));
    fs::write(folder.path().join("log"), &long).unwrap();
    let third = read(folder.path(), &second.known);
    assert_eq!(third.texts(), [long.trim_end()]);
    fs::write(folder.path().join("log"), format!("{long}2\n]\n")).unwrap();
    let fourth = read(folder.path(), &third.known);
    assert_eq!(fourth.records.iter().map(|r| (r.2, r.3)).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!(fourth.texts(), [format!("{long}2\n]")]);
    assert_eq!(fourth.known[0].fingerprint, third.known[0].fingerprint);
}

#[test]
fn documents_that_begin_alike_are_told_apart_by_all_their_lines() {
    let document = |name: &str| format!("{{\n  \"kind\": \"Pod\",\n  \"name\": \"{name}\"\n}}\n");
    let folder = folder(&[
        ("a.json", document("web").as_bytes()),
        ("b.json", document("api").as_bytes()),
        ("c.json.gz", &gzip(document("web").as_bytes())),
        ("d.json", (document("api") + &document("db")).as_bytes()),
    ]);
    let heard = read(folder.path(), &[]);
    let seen: Vec<_> = heard.records.iter().map(|r| (r.0.as_str(), r.1, r.2, r.3)).collect();
    assert_eq!(seen, [("a.json", 0, 0, 1), ("d.json", 0, 0, 1), ("d.json", 0, 1, 5)]);
    assert_eq!(read(folder.path(), &heard.known).records.len(), 0);
}

#[test]
fn documents_fill_chunks_to_their_bounds_and_are_never_cut_by_them() {
    let text = "{\n\"a\": 1\n}\n".repeat(10);
    let folder = folder(&[("log", text.as_bytes())]);
    for (chunk_bytes_max, chunk_records_max, chunks) in [(1, 100, 10), (13, 100, 5), (1000, 3, 4), (1000, 100, 1)] {
        let settings = FileSettings { chunk_bytes_max, chunk_records_max, ..FileSettings::default() };
        let heard = drain(&mut open(folder.path(), &[], settings), |_| None);
        assert_eq!(heard.chunks, chunks, "{chunk_bytes_max} {chunk_records_max}");
        assert_eq!(heard.texts(), ["{\n\"a\": 1\n}"; 10]);
    }
}

#[test]
fn a_document_that_breaks_off_comes_whole_once_the_file_is_mended() {
    let documents: Vec<String> =
        (0..9000).map(|i| format!("{{\n  \"number\": {},\n  \"list\": [\n    {i}\n  ]\n}}", i * 7919)).collect();
    let packed = gzip(documents.join("\n").as_bytes());
    let folder = folder(&[("a.gz", &packed[..packed.len() / 2])]);
    let heard = read(folder.path(), &[]);
    assert_eq!(heard.facts.len(), 1);
    assert!(heard.records.len() > 100);
    fs::write(folder.path().join("a.gz"), &packed).unwrap();
    let mended = read(folder.path(), &heard.known);
    let all: Vec<&str> = heard.texts().into_iter().chain(mended.texts()).collect();
    assert_eq!(all, documents);
}

#[test]
fn a_file_that_is_one_json_document_is_one_record() {
    for (part, least) in [("kubehound", 20), ("trivy", 15), ("k8s_audit/aks_sysdig", 2)] {
        let Some(folder) = crate::testing::shared(part) else { continue };
        let mut documents = BTreeMap::new();
        for entry in walkdir::WalkDir::new(&folder).into_iter().filter_map(Result::ok) {
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
            if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice::<Value>(text)
                && text.contains(&b'\n')
            {
                documents.insert(entry.path().to_path_buf(), value);
            }
        }
        assert!(documents.len() >= least, "{part}: {}", documents.len());
        for (path, value) in documents {
            let heard = read(&path, &[]);
            assert_eq!(heard.records.len(), 1, "{}", path.display());
            assert_eq!(serde_json::from_str::<Value>(heard.texts()[0]).unwrap(), value, "{}", path.display());
        }
    }
}

#[test]
fn a_lane_resumes_at_any_record_with_any_ledger() {
    let lines: String = (0..40).map(|i| if i % 7 == 3 { "\n".to_owned() } else { format!("line {i}\n") }).collect();
    let documents: String = (0..40)
        .map(|i| match i % 7 {
            1 => "[\r\n1,\r\n\r\n{}]\r\n".to_owned(),
            3 => "\n \n".to_owned(),
            4 => format!("{{\n\"broken\": {i},\n"),
            _ => format!("{{\n\"a\": [\n{i}]\n}}\n{{\"b\": {i}}}\n"),
        })
        .collect();
    for text in [lines, documents.clone(), documents + "[\n1,"] {
        resumes_everywhere(&text);
    }
}

fn resumes_everywhere(text: &str) {
    let folder = folder(&[("log", text.as_bytes())]);
    let whole = read(folder.path(), &[]);
    let count = whole.records.len() as i64;
    let small = FileSettings { chunk_records_max: 5, ..FileSettings::default() };
    let mut ledgers = vec![None];
    let mut source = open(folder.path(), &[], small.clone());
    let heard = drain(&mut source, |_| Some(0));
    assert!(heard.chunks > 5);
    let lane = Arc::clone(&source.lanes[0].file.lane);
    ledgers.extend((0..=count).filter_map(|n| source.progress(&lane, n)).map(Some));
    assert!(ledgers.len() > 6);
    for known in ledgers {
        for n in 0..=count {
            let known: Vec<KnownFile> = known.iter().cloned().collect();
            let heard = drain(&mut open(folder.path(), &known, small.clone()), |_| Some(n));
            assert_eq!(heard.records, whole.records[n as usize..], "from {n} with {known:?}");
        }
    }
}

#[test]
fn a_header_is_given_again_when_a_lane_starts_further_on() {
    let folder = folder(&[("t.csv", b"\na,b\n1,2\n3,4\n5,6\n")]);
    let settings = FileSettings {
        header: Header::First,
        framing: Framing::Lines,
        chunk_records_max: 1,
        ..FileSettings::default()
    };
    let heard = drain(&mut open(folder.path(), &[], settings.clone()), |_| Some(2));
    let seen: Vec<_> = heard.records.iter().map(|r| (r.2, r.3, r.4.as_str(), r.5)).collect();
    assert_eq!(seen, [(0, 2, "a,b", true), (2, 4, "3,4", false), (3, 5, "5,6", false)]);
    let heard = drain(&mut open(folder.path(), &[], settings.clone()), |_| Some(0));
    assert!(heard.records.iter().all(|r| !r.5));
    assert_eq!(drain(&mut open(folder.path(), &[], settings), |_| Some(4)).records.len(), 0);
}

#[test]
fn a_held_lane_delivers_nothing_and_loses_nothing() {
    let folder = folder(&[("a", b"a1\na2\na3\n"), ("b", b"b1\nb2\n")]);
    let settings = FileSettings { chunk_records_max: 1, ..FileSettings::default() };
    let mut source = open(folder.path(), &[], settings);
    let Signal::Joined(lanes) = source.next(Duration::ZERO).unwrap() else { panic!() };
    assert!(matches!(source.next(Duration::ZERO).unwrap(), Signal::Nothing), "nothing before a start");
    source.start(&[(Arc::clone(&lanes[0]), None), (Arc::clone(&lanes[1]), None)]).unwrap();
    source.hold(&lanes[0], Hold::Hold);
    let (mut texts, mut ends) = (Vec::new(), 0);
    loop {
        match source.next(Duration::ZERO).unwrap() {
            Signal::Records(chunk) => texts.push(String::from_utf8(chunk.bytes).unwrap()),
            Signal::CaughtUp(_) => ends += 1,
            Signal::Nothing => {
                assert_eq!((texts.join(" ").as_str(), ends), ("b1 b2", 1));
                source.hold(&lanes[0], Hold::Release);
            }
            Signal::Finished => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((texts.join(" ").as_str(), ends), ("b1 b2 a1 a2 a3", 2));
}

#[test]
fn lanes_take_turns_and_join_as_others_end() {
    let folder = folder(&[("a", b"a1\na2\n"), ("b", b"b1\nb2\n"), ("c", b"c1\nc2\n")]);
    let settings = FileSettings { chunk_records_max: 1, lanes_max: 2, ..FileSettings::default() };
    let heard = drain(&mut open(folder.path(), &[], settings), |_| None);
    assert_eq!(heard.texts(), ["a1", "b1", "a2", "b2", "c1", "c2"]);
    assert_eq!((heard.joined.len(), heard.caught_up), (3, 3));
}

#[test]
fn a_record_over_the_bound_is_delivered_one_byte_over_it() {
    let long = "x".repeat(600_000);
    let text = format!("short\r\n{long}\r\nexactly10!\r\nexactly11!!\n");
    let folder = folder(&[("log", text.as_bytes())]);
    let settings = FileSettings { record_bytes_max: 10, ..FileSettings::default() };
    let heard = drain(&mut open(folder.path(), &[], settings), |_| None);
    assert_eq!(heard.texts(), ["short", "xxxxxxxxxxx", "exactly10!", "exactly11!!"]);
    let heard = drain(&mut open(folder.path(), &[], FileSettings::default()), |_| None);
    assert_eq!(heard.texts(), ["short", long.as_str(), "exactly10!", "exactly11!!"]);
}

#[test]
fn a_file_that_breaks_off_is_a_fact_and_the_others_go_on() {
    let text: String = (0..60_000).map(|i| format!("line {}\n", i * 7919)).collect();
    let packed = gzip(text.as_bytes());
    let folder = folder(&[
        ("a.gz", &packed[..packed.len() / 2]),
        ("b", b"fine\n"),
        ("c.gz", &packed[..12]),
        ("d.xz", b"\xfd7zXZ\0rest of it"),
    ]);
    let heard = read(folder.path(), &[]);
    assert_eq!(heard.facts.len(), 3, "{:?}", heard.facts);
    assert!(heard.facts.iter().any(|f| f.contains("xz is not supported")));
    assert!(heard.texts().contains(&"fine"));
    let read_of_a = heard.records.iter().filter(|r| r.0 == "a.gz").count();
    assert!(read_of_a > 1000);
    // Mended, the file goes on after the last whole record.
    fs::write(folder.path().join("a.gz"), &packed).unwrap();
    let mended = read(folder.path(), &heard.known);
    let all: Vec<String> =
        heard.records.iter().chain(&mended.records).filter(|r| r.0 == "a.gz").map(|r| r.4.clone()).collect();
    assert_eq!(all.join("\n") + "\n", text);
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_a_fact() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder(&[("a", b"a\n"), ("b", b"b\n")]);
    let path = folder.path().join("a");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_ok() {
        eprintln!("not run: this user may read everything");
        return;
    }
    let heard = read(folder.path(), &[]);
    assert_eq!((heard.texts(), heard.facts.len()), (vec!["b"], 1));
}

#[test]
fn a_path_that_does_not_exist_is_an_error() {
    let missing = Path::new("/nonexistent/for/sure").to_path_buf();
    let error = FileSource::new("files", &[missing], &[], FileSettings::default()).unwrap_err();
    assert!(error.why.contains("/nonexistent/for/sure") && !error.retry);
}

#[cfg(unix)]
#[test]
fn what_is_neither_a_file_nor_a_folder_is_refused() {
    let folder = folder(&[("a", b"a\n")]);
    let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [pipe, socket, "/dev/null".into()].iter().filter(|path| path.exists()) {
        let error = FileSource::new("files", std::slice::from_ref(path), &[], FileSettings::default()).unwrap_err();
        assert!(error.why.contains("neither a file nor a folder") && !error.retry, "{error} ({made:?})");
    }
    assert_eq!(read(folder.path(), &[]).texts(), ["a"], "in a folder it is no file among its files");
}

#[test]
fn standard_input_is_a_file_and_bounded() {
    let known = |input: &[u8], bound: u64, known: &[KnownFile]| {
        let settings = FileSettings { stdin_bytes_max: bound, ..FileSettings::default() };
        FileSource::with_stdin("files", &["-".into()], known, settings, &mut &input[..])
    };
    let mut source = known(b"1\n2\n", 4, &[]).unwrap();
    let heard = drain(&mut source, |_| None);
    assert_eq!((heard.texts(), heard.joined[0].as_str()), (vec!["1", "2"], "-"));
    let again = drain(&mut known(&gzip(b"1\n2\n3\n"), 1000, &heard.known).unwrap(), |_| None);
    assert_eq!(again.texts(), ["3"]);
    assert!(known(b"1\n2\n3", 4, &[]).is_err());
}

#[test]
fn lines_longer_than_the_buffer_are_whole_and_hashed_once() {
    let text = format!("{}\n{}\nend", "a".repeat(700_000), "b".repeat(300_000));
    let folder = folder(&[("log", text.as_bytes())]);
    let heard = read(folder.path(), &[]);
    assert_eq!(heard.texts().join("\n"), text);
    assert_eq!(heard.known[0].prefix_hash, blake3::hash(text.as_bytes()).to_hex().to_string());
    assert_eq!(heard.known[0].bytes, text.len() as u64);
}
