//! Files with the names of classes, as people have them.

use serde_json::{Map, Value};

/// The names in a file. The error says what the file is instead.
pub(super) fn names(bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = text(bytes)?;
    // A line may be in brackets, too: `[background]`.
    let is_line = |line: &str| line.trim_end().ends_with([']', '}']);
    let rest = text.trim().split_once('\n');
    let is_json =
        text.trim_start().starts_with(['[', '{']) && !rest.is_some_and(|(line, _)| is_line(line));
    let names = if is_json { from_json(text)? } else { from_lines(text.trim_end())? };
    if names.is_empty() { Err("no names".into()) } else { Ok(names) }
}

/// Without the byte-order mark that editors on Windows write.
fn text(bytes: &[u8]) -> Result<&str, String> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err("UTF-16; save the file as UTF-8".into());
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        format!("another encoding, such as Latin-1, in line {line}; save the file as UTF-8")
    })
}

fn from_lines(text: &str) -> Result<Vec<String>, String> {
    let lines = text.lines().map(str::trim_end);
    let names: Vec<String> = lines.map(String::from).collect();
    match names.iter().position(String::is_empty) {
        Some(blank) => Err(format!("nothing in line {}", blank + 1)),
        None => Ok(names),
    }
}

fn from_json(text: &str) -> Result<Vec<String>, String> {
    let json: Value = serde_json::from_str(text).map_err(|error| {
        format!("text in brackets that is not JSON ({error}); Python writes JSON with json.dump")
    })?;
    let values: Vec<&Value> = match &json {
        Value::Array(names) => names.iter().collect(),
        Value::Object(classes) if classes.values().all(Value::is_u64) => {
            return by_class(classes);
        }
        Value::Object(names) => (0..names.len())
            .map(|class| {
                let missing =
                    || format!("JSON of {} names without the key \"{class}\"", names.len());
                names.get(&class.to_string()).ok_or_else(missing)
            })
            .collect::<Result<_, _>>()?,
        _ => return Err("JSON without a list".into()),
    };
    (values.into_iter().enumerate())
        .map(|(class, value)| {
            // Keras' have the number of the WordNet synset before the name.
            let name = value.as_array().map_or(Some(value), |parts| parts.last());
            let name = name.and_then(Value::as_str).filter(|name| !name.trim().is_empty());
            let name = name.map(String::from);
            name.ok_or_else(|| format!("JSON whose name of class {class} is {value}"))
        })
        .collect()
}

/// From the class of each name, as torchvision's `class_to_idx` has them.
fn by_class(classes: &Map<String, Value>) -> Result<Vec<String>, String> {
    let mut names: Vec<(Option<u64>, &String)> =
        classes.iter().map(|(name, class)| (class.as_u64(), name)).collect();
    names.sort();
    let are_numbered = (0..).zip(&names).all(|(class, (found, _))| *found == Some(class));
    if are_numbered {
        Ok(names.into_iter().map(|(_, name)| name.clone()).collect())
    } else {
        Err(format!("JSON whose {} names do not have the classes from 0 on", names.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_as_people_have_them() {
        let read = |bytes: &[u8]| names(bytes).map(|names| names.join("|"));
        for same in [
            &b"tulip\nred rose\n"[..],
            b"tulip\r\nred rose\r\n\r\n",
            b"\xef\xbb\xbftulip\nred rose",
            br#"["tulip", "red rose"]"#,
            br#"{"1": "red rose", "0": "tulip"}"#,
            br#"{"red rose": 1, "tulip": 0}"#,
            br#"{"0": ["n1", "tulip"], "1": ["n2", "red rose"]}"#,
            b"\xef\xbb\xbf[\"tulip\", \"red rose\"]",
        ] {
            assert_eq!(read(same).as_deref(), Ok("tulip|red rose"));
        }
        assert_eq!(read(b"[background]\ntulip\n").as_deref(), Ok("[background]|tulip"));
        for (wrong, what) in [
            (&b"tulip\n\nrose"[..], "nothing in line 2"),
            (b"[\n\"tulip\",\n\"rose\",", "json.dump"),
            (b"  \n", "no names"),
            (b"[]", "no names"),
            (b"[\"tulip\", \"\"]", "class 1 is \"\""),
            (b"a\nros\xe9\n", "Latin-1, in line 2"),
            (b"\xff\xfet\0", "UTF-16"),
            (b"{0: 'tulip',\n 1: 'rose'}", "json.dump"),
            (br#"{"1": "tulip", "2": "rose"}"#, "without the key \"0\""),
            (br#"{"tulip": 1, "rose": 2}"#, "classes from 0 on"),
            (b"[1, 2]", "name of class 0 is 1"),
        ] {
            let found = read(wrong).expect_err("no list of names");
            assert!(found.contains(what), "{found}");
        }
    }
}
