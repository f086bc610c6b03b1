//! Strangers' files end in an error that says what is wrong, soon and in little memory, and nothing that they
//! ask for is done.

use crate::pickles::*;
use alexnet_vgg_core::weights::Weights;
use rawzip::CompressionMethod;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::{Duration, Instant};

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static NOW: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        NOW.set(NOW.get().wrapping_add(layout.size()));
        PEAK.set(PEAK.get().max(NOW.get()));
        // SAFETY: the caller's promises are the system's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // What another thread allocated was not counted here.
        NOW.set(NOW.get().saturating_sub(layout.size()));
        // SAFETY: the pointer is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of memory for any file: the buffers of the zip reader, and some room.
const FIXED: usize = 2 << 20;
/// Bytes of memory for each byte of a file: a node of the pickle.
const PER_BYTE: usize = 100;
const LONGEST: Duration = Duration::from_secs(2);

/// The error of opening a file, or of reading its tensors. Fails if that takes too much time or memory.
pub fn refusal(name: &str, bytes: &[u8]) -> Option<String> {
    let copy = bytes.to_vec();
    let (start, before) = (Instant::now(), NOW.get());
    PEAK.set(before);
    let opened = Weights::from_bytes("stranger", copy).and_then(|weights| {
        weights.tensors().try_for_each(|tensor| weights.values(tensor.name).map(drop))?;
        weights.verify()
    });
    let used = PEAK.get().saturating_sub(before);
    let allowed = FIXED + PER_BYTE * bytes.len();
    assert!(used <= allowed, "{name}: {used} bytes of memory for a file of {}", bytes.len());
    assert!(start.elapsed() < LONGEST, "{name}: {:?}", start.elapsed());
    opened.err().map(|error| error.to_string())
}

pub fn refused(name: &str, bytes: &[u8], says: &str) {
    match refusal(name, bytes) {
        Some(error) => assert!(error.contains(says), "{name}: expected {says:?} in {error}"),
        None => panic!("{name}: it was read"),
    }
}

/// In both formats.
fn refused_pickle(name: &str, value: &[u8], says: &str) {
    refused(&format!("{name}, zip"), &zip(value), says);
    refused(&format!("{name}, legacy"), &legacy(value), says);
}

fn one(tensor: Tensor) -> Vec<u8> {
    dict(&[("weight", tensor.pickled())])
}

/// Something else in a state dict.
fn beside(value: Vec<u8>) -> Vec<u8> {
    dict(&[("weight", Tensor::default().pickled()), ("bias", value)])
}

#[test]
fn unchanged_hand_written_files_are_read() {
    for bytes in [zip(&one(Tensor::default())), legacy(&one(Tensor::default()))] {
        let weights = Weights::from_bytes("right", bytes).expect("a right file");
        assert_eq!(weights.values("weight").expect("six numbers"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!(weights.values("bias").is_err());
    }
}

#[test]
fn nothing_is_called_and_the_call_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let traced = folder.path().join("traced");
    let command = [text(&format!("touch {}", traced.display()))];
    for (module, name) in [
        ("os", "system"),
        ("posix", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "setattr"),
        ("__builtin__", "exec"),
        ("runpy", "run_path"),
        ("torch.hub", "load_state_dict_from_url"),
        ("collections", "OrderedDict.__init__"),
    ] {
        let says = format!("{module}.{name}");
        let value = call(module, name, &command);
        refused_pickle(&says, &value, &says);
        refused_pickle(&says, &dict(&[("weight", value)]), &says);
        let by_stack = [text(module), text(name), b"\x93".to_vec(), tuple(&command), b"R".to_vec()];
        refused_pickle(&says, &by_stack.concat(), &says);
    }
    let instance = [b"(", &command[0][..], b"iposix\nsystem\n"].concat();
    refused_pickle("INST", &instance, "INST");
    let object = [b"(", &global("posix", "system")[..], &command[0], b"o"].concat();
    refused_pickle("OBJ", &object, "OBJ");
    refused_pickle("EXT1", b"\x82\x01", "EXT1");
    refused_pickle("a bare function", &beside(global("os", "system")), "os.system");
    assert!(!traced.exists());
}

/// What a call that was not made would have returned or changed is not known.
#[test]
fn calls_beside_weights_do_not_matter_unless_they_have_them() {
    let call = |arguments: &[Vec<u8>]| call("mine", "prepare", arguments);
    let weights = || one(Tensor::default());
    let (put, memorized) = (b"q\x07".to_vec(), b"h\x07".to_vec());
    let kept = [weights(), put].concat();
    let config =
        dict(&[("lr", call(&[int(1)])), ("sizes", [call(&[]), int(1), b"a".to_vec()].concat())]);
    let stateful = [call(&[]), dict(&[("weight", b"N".to_vec())]), b"b".to_vec()].concat();
    for beside in [call(&[]), config, stateful.clone(), [call(&[]), b")R".to_vec()].concat()] {
        let checkpoint =
            dict(&[("model", beside.clone()), ("state_dict", weights()), ("args", beside)]);
        for bytes in [zip(&checkpoint), legacy(&checkpoint)] {
            let opened =
                Weights::from_bytes("beside", bytes).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(opened.values("weight").expect("six numbers")[5], 5.0);
        }
    }
    let set = |what: Vec<u8>| [call(&[]), what, b"b".to_vec()].concat();
    let getattr = [
        global("__builtin__", "getattr"),
        tuple(&[memorized.clone(), text("update")]),
        b"R".to_vec(),
    ];
    let method = [getattr.concat(), tuple(&[]), b"R".to_vec()].concat();
    let own = dict(&[("model", kept.clone()), ("note", method)]);
    refused_pickle("a method of theirs", &own, "which was not executed");
    for (name, value) in [
        ("its result is all", call(&[weights()])),
        ("its result is the weights", dict(&[("state_dict", call(&[weights()]))])),
        ("of no arguments", dict(&[("state_dict", call(&[]))])),
        ("its state is the weights", dict(&[("state_dict", set(weights()))])),
        ("under another key", dict(&[("state_dict", weights()), ("model", call(&[weights()]))])),
        ("it is given the weights", dict(&[("model", kept), ("note", call(&[memorized]))])),
        (
            "it is given their storage",
            dict(&[("model", weights()), ("note", call(&[Tensor::default().pickled()]))]),
        ),
        ("a tensor", dict(&[("fc.weight", Tensor::default().pickled()), ("fc.bias", call(&[]))])),
        ("a module's part", object(dict(&[("_modules", dict(&[("fc", call(&[]))]))]))),
        ("a module's tensors", object(dict(&[("_parameters", call(&[]))]))),
        ("a module's tensor", object(dict(&[("_parameters", dict(&[("w", call(&[]))]))]))),
    ] {
        refused_pickle(name, &value, "mine.prepare");
    }
}

#[test]
fn tensors_outside_their_storage_are_refused() {
    let plain = Tensor::default;
    let cases: Vec<(&str, Tensor, &str)> = vec![
        ("a huge shape", Tensor { shape: vec![1 << 40], stride: vec![1], ..plain() }, "storage"),
        (
            "a shape that overflows",
            Tensor { shape: vec![1 << 32; 2], stride: vec![1 << 32, 1], ..plain() },
            "storage",
        ),
        ("a negative stride", Tensor { stride: vec![-3, 1], offset: 3, ..plain() }, "from 0"),
        ("a negative offset", Tensor { offset: -1, ..plain() }, "from 0"),
        ("a negative shape", Tensor { shape: vec![-2, 3], ..plain() }, "from 0"),
        ("an offset past the end", Tensor { offset: 1, ..plain() }, "storage"),
        ("an expanded tensor", Tensor { stride: vec![0, 1], ..plain() }, "contiguous copy"),
        ("an expanded number", Tensor { shape: vec![6], stride: vec![0], ..plain() }, "copy"),
        ("no elements", Tensor { shape: vec![0, 3], ..plain() }, "elements"),
        ("a stride too few", Tensor { stride: vec![1], ..plain() }, "stride"),
        ("a storage larger than the file", Tensor { elements: 1 << 40, ..plain() }, "bytes"),
        ("a storage of 2^62", Tensor { elements: 1 << 62, ..plain() }, ""),
        ("a storage of -1", Tensor { elements: -1, ..plain() }, "-1"),
        ("another length of the storage", Tensor { elements: 5, ..plain() }, ""),
        ("a wider type", Tensor { class: "DoubleStorage", ..plain() }, "bytes"),
        ("complex numbers", Tensor { class: "ComplexFloatStorage", ..plain() }, "ComplexFloat"),
        ("a missing storage", Tensor { key: "1", ..plain() }, ""),
        ("a storage elsewhere", Tensor { key: "../../etc/passwd", ..plain() }, ""),
    ];
    for (name, tensor, says) in cases {
        refused_pickle(name, &one(tensor), says);
    }
    let twice = dict(&[("a", Tensor::default().pickled()), ("a", Tensor::default().pickled())]);
    refused_pickle("a name twice", &twice, "twice");
    let other = Tensor { elements: 7, ..plain() };
    let two = dict(&[("a", plain().pickled()), ("b", other.pickled())]);
    refused_pickle("a storage of two lengths", &two, "one description");
}

#[test]
fn pickles_that_explode_do_not() {
    // Tuples of twice the one before: 2^60 leaves for a reader that walks them.
    let doubled =
        |depth| [b")q\x000", &b"h\x00h\x00\x86q\x000".repeat(depth)[..], b"h\x00"].concat();
    refused_pickle("memo bomb", &doubled(60), "a tuple");
    refused_pickle("memo bomb as a tensor", &beside(doubled(60)), "a tuple");
    let lists = [b"]".repeat(20_000), b"a".repeat(19_999)].concat();
    refused_pickle("20,000 lists in each other", &lists, "a list");
    refused_pickle("a list of itself", b"]q\x00h\x00a", "a list");
    refused_pickle(
        "a dict of itself",
        &[b"}q\x00", &text("state_dict")[..], b"h\x00s"].concat(),
        "",
    );
    refused_pickle("two million values", &b"N0".repeat(2_000_000), "at most");
    // Modules, each with twice the same one inside.
    let mut module = object(dict(&[("_parameters", dict(&[]))]));
    for _ in 0..30 {
        let inside = [b"q\x00".to_vec(), b"0".to_vec()].concat();
        let twice = dict(&[("a", b"h\x00".to_vec()), ("b", b"h\x00".to_vec())]);
        module = [module, inside, object(dict(&[("_modules", twice)]))].concat();
    }
    refused_pickle("2^30 modules", &module, "at most");
    // One module many times, with the same thousands of buffers that it leaves out.
    let names = [b"](".to_vec(), text("a").repeat(10_000), b"e\x85R".to_vec()].concat();
    let names = [global("__builtin__", "set"), names].concat();
    let module = object(dict(&[("_non_persistent_buffers_set", names)]));
    let many: Vec<u8> =
        (0..5_000).flat_map(|i| [text(&i.to_string()), b"h\x00".to_vec()].concat()).collect();
    let many = [b"}(".to_vec(), many, b"u".to_vec()].concat();
    let module = [module, b"q\x000".to_vec(), object(dict(&[("_modules", many)]))].concat();
    refused_pickle("a set that is looked at 5,000 times", &module, "at most");
    // Checkpoints in checkpoints.
    let inner = (0..20).fold(one(Tensor::default()), |inner, _| {
        dict(&[("model", [inner, b"q\x00".to_vec()].concat()), ("net", b"h\x00".to_vec())])
    });
    refused_pickle("2^20 checkpoints", &inner, "a dict of 2");
    let own = [global("nowhere", "Network"), b")\x81q\x00".to_vec()];
    let own =
        [own.concat(), dict(&[("_modules", dict(&[("a", b"h\x00".to_vec())]))]), b"b".to_vec()];
    refused_pickle("a module of itself", &own.concat(), "deep");
    let wrapped = (0..100).fold(Tensor::default().pickled(), |inner, _| {
        call("torch._utils", "_rebuild_parameter", &[inner])
    });
    refused_pickle("a parameter of parameters", &dict(&[("weight", wrapped)]), "without end");
}

#[test]
fn tensors_of_other_kinds_are_no_weights() {
    for (function, says) in [
        ("_rebuild_sparse_tensor", "a sparse tensor"),
        ("_rebuild_qtensor", "a quantized tensor"),
        ("_rebuild_meta_tensor_no_storage", "without values"),
        ("_rebuild_tensor_v3", "8 bits"),
    ] {
        let other = || call("torch._utils", function, &[int(1)]);
        refused_pickle(function, &dict(&[("weight", other())]), says);
        refused_pickle(
            function,
            &object(dict(&[("_buffers", dict(&[("weight", other())]))])),
            says,
        );
        // Beside the weights, they are ignored.
        let others = dict(&[("other", other())]);
        let checkpoint = dict(&[("state_dict", one(Tensor::default())), ("others", others)]);
        for bytes in [zip(&checkpoint), legacy(&checkpoint)] {
            Weights::from_bytes(function, bytes).expect("weights").values("weight").expect("six");
        }
    }
}

/// Long values that are used many times must not be copied each time.
#[test]
fn small_pickles_do_not_become_large() {
    let long = |length: usize| text(&"x".repeat(length));
    let kept = |value: Vec<u8>| [value, b"q\x000".to_vec()].concat();
    // A list of pairs, made a dict many times.
    let pairs =
        [b"](".to_vec(), b"]q\x01(K\x00K\x00e".to_vec(), b"h\x01".repeat(30_000), b"e".to_vec()];
    let dicts = [global("collections", "OrderedDict"), b"q\x020".to_vec()].concat();
    let dicts = [dicts, b"h\x02h\x00\x85R0".repeat(20_000)].concat();
    let bomb = [kept(pairs.concat()), dicts, one(Tensor::default())].concat();
    refused_pickle("a list made a dict 20,000 times", &bomb, "at most");
    // A name of a module and of something in it.
    let names = [kept(long(50_000)), b"h\x00h\x00\x930".repeat(20_000), b"N".to_vec()];
    refused_pickle("a long name 20,000 times", &names.concat(), "None");
    // A shape of 20,000 dimensions, of 2,000 tensors.
    let shape = ints(&vec![1; 20_000]);
    let numbers = [kept(shape), b"}(".to_vec()].concat();
    let tensor = |i: usize| {
        let plain = Tensor { shape: vec![], stride: vec![], ..Tensor::default() }.pickled();
        let empty = tuple(&[]);
        // Both empty tuples become the long one.
        let at = plain.windows(empty.len()).position(|window| window == empty).expect("a shape");
        let rest = &plain[at + 2 * empty.len()..];
        [&text(&i.to_string())[..], &plain[..at], b"h\x00h\x00", rest].concat()
    };
    let tensors: Vec<u8> = (0..2_000).flat_map(tensor).collect();
    let bomb = [numbers, tensors, b"u".to_vec()].concat();
    refused_pickle("a shape of 20,000 dimensions", &bomb, "at most 8");
    // A name of a tensor, and the same one again.
    let name = [kept(long(50_000)), b"}(".to_vec()].concat();
    let items = [b"h\x00".to_vec(), Tensor::default().pickled()].concat().repeat(200);
    refused_pickle("a long key", &[name, items, b"u".to_vec()].concat(), "512 bytes");
    let key: &'static str = "k".repeat(50_000).leak();
    refused_pickle("a long storage", &one(Tensor { key, ..Tensor::default() }), "512 bytes");
    let modules = object(dict(&[("_modules", dict(&[(&"m".repeat(600), object(dict(&[])))]))]));
    refused_pickle("a long module", &modules, "512 bytes");
}

/// Files of which a careless reader would give other values than PyTorch.
#[test]
fn what_means_something_else_to_pytorch_is_refused() {
    let plain = || Tensor::default().pickled();
    // torch._neg_view: the values are meant negative.
    let metadata = dict(&[("neg", b"\x88".to_vec())]);
    let negated = plain();
    let negated = [&negated[..negated.len() - 2], &metadata, b"tR"].concat();
    refused_pickle("a negated tensor", &dict(&[("weight", negated)]), "metadata");
    let set = [plain(), tuple(&[int(1)]), b"b".to_vec()].concat();
    refused_pickle("a tensor that is set again", &dict(&[("weight", set)]), "state");
    let two = [("state_dict", one(Tensor::default())), ("state_dict", one(Tensor::default()))];
    refused_pickle("two of one key", &dict(&two), "twice");
    let turned = Tensor { stride: vec![1, 2], ..Tensor::default() };
    let both = [("model", one(Tensor::default())), ("state_dict", one(turned.clone()))];
    refused_pickle("two state dicts", &dict(&both), "--key");
    let layer = |tensor: &Tensor| dict(&[("fc.weight", tensor.pickled())]);
    let both = [("generator", layer(&turned)), ("discriminator", layer(&Tensor::default()))];
    refused_pickle(
        "two networks",
        &dict(&both),
        "\"generator\" and others under \"discriminator\"",
    );
    let both = tuple(&[layer(&turned), layer(&Tensor::default())]);
    refused_pickle("two networks in a tuple", &both, "\"0\" and others under \"1\"");
    let beside = [("weight", plain()), ("params", one(Tensor::default()))];
    refused_pickle("weights beside weights", &dict(&beside), "beside");
    let twice = dict(&[("_parameters", one(Tensor::default())), ("_parameters", dict(&[]))]);
    refused_pickle("two of one attribute", &object(twice), "twice");
    let state = [object(dict(&[])), dict(&[]), b"b".to_vec()].concat();
    refused_pickle("two states", &state, "one state");
    // Items that are set one by one.
    let put = |value: Vec<u8>| [value, int(0), int(77), b"s".to_vec()].concat();
    refused_pickle(
        "a tensor whose first row is set",
        &dict(&[("weight", put(plain()))]),
        "a tensor",
    );
    let module = || object(dict(&[("_parameters", one(Tensor::default()))]));
    refused_pickle("a module whose first part is set", &put(module()), "put into");
    refused_pickle("a longer module", &[module(), int(1), b"a".to_vec()].concat(), "put into");
    let late = [dict(&[("_parameters", one(Tensor::default()))]), b"q\x00b".to_vec()].concat();
    let late = [global("nowhere", "Network"), b")\x81".to_vec(), late].concat();
    let late = [late, b"0h\x00".to_vec(), text("_buffers"), dict(&[]), b"s".to_vec()].concat();
    refused_pickle("a state that changes later", &late, "state");
    // Attributes that are the values.
    for key in ["data", "real", "__class__"] {
        let state = dict(&[(key, plain())]);
        let arguments = [plain(), b"\x89".to_vec(), b"N".to_vec()];
        for state in [state.clone(), tuple(&[b"N".to_vec(), state])] {
            let arguments = [&arguments[..], &[state]].concat();
            let set = call("torch._utils", "_rebuild_parameter_with_state", &arguments);
            refused_pickle("a parameter whose data is set", &dict(&[("weight", set)]), key);
        }
    }
    let parts = tuple(&vec![b"N".to_vec(); 4]);
    let foreign = [global("mine", "_rebuild_tensor_v2"), b"N".to_vec(), parts, b"N".to_vec()];
    let foreign = call("torch._tensor", "_rebuild_from_type_v2", &foreign);
    refused_pickle("another function of that name", &dict(&[("weight", foreign)]), "mine.");
    let items = b"](](".to_vec();
    let items = [items, text("weight"), plain(), b"ee".to_vec()].concat();
    let default = call("collections", "defaultdict", &[b"N".to_vec(), items]);
    refused_pickle("a defaultdict with items", &default, "2 arguments");
    // An average does not stand in for weights that are there and cannot be read.
    let hidden =
        [("model", tuple(&[one(Tensor::default())])), ("model_ema", one(Tensor::default()))];
    refused_pickle("an average beside others", &dict(&hidden), "average");
}

/// PyTorch knows a view by its key, and the first description of it counts.
#[test]
fn storages_under_two_names_are_refused() {
    let tensor = |location: &str, view: Option<(&str, i64)>| {
        let class = global("torch", "FloatStorage");
        let mut storage = vec![text("storage"), class, text("0"), text(location), int(6)];
        storage.extend(view.map(|(key, start)| tuple(&[text(key), int(start), int(2)])));
        let storage = [tuple(&storage), b"Q".to_vec()].concat();
        call("torch._utils", "_rebuild_tensor", &[storage, int(0), ints(&[2]), ints(&[1])])
    };
    let two = |a, b| dict(&[("a", tensor("cpu", Some(a))), ("b", tensor("cpu", Some(b)))]);
    let right = Weights::from_bytes("views", legacy(&two(("1", 2), ("2", 4)))).expect("two views");
    assert_eq!(right.values("a").expect("two numbers"), [2.0, 3.0]);
    assert_eq!(right.values("b").expect("two numbers"), [4.0, 5.0]);
    refused("two views of one key", &legacy(&two(("1", 2), ("1", 4))), "one description");
    refused("a view with the storage's key", &legacy(&two(("0", 2), ("1", 4))), "one description");
    refused("a view outside", &legacy(&two(("1", 5), ("2", 4))), "inside");
    refused("views in an archive", &zip(&two(("1", 2), ("2", 4))), "whole");
    refused_pickle("no device", &dict(&[("a", tensor("meta", None))]), "meta");
}

/// Archives in which other readers would see another directory, or anything else.
#[test]
fn nothing_hides_in_an_archive() {
    let good = zip(&one(Tensor::default()));
    let end = good.len() - 22;
    let directory = good[end + 16..end + 20].to_vec();
    let directory = u32::from_le_bytes(directory.try_into().expect("four bytes")) as usize;
    let at = |extra: usize| (directory + extra) as u32;
    // Bytes before the directory, which moves on.
    let gap = [&good[..directory], &[7; 5], &good[directory..]].concat();
    let mut gap = gap;
    gap[end + 5 + 16..end + 5 + 20].copy_from_slice(&at(5).to_le_bytes());
    refused("a gap before the directory", &gap, "without gaps");
    refused("a gap behind it", &[&good[..end], &[7; 5], &good[end..]].concat(), "");
    // A comment of the last file that ends in what points to zip64's directory.
    let last = (0..end).rev().find(|&i| good[i..].starts_with(b"PK\x01\x02")).expect("a record");
    let locator = [b"PK\x06\x07\0\0\0\0".to_vec(), 0u64.to_le_bytes().to_vec(), vec![1, 0, 0, 0]];
    let mut hidden = [&good[..end], &locator.concat(), &good[end..]].concat();
    hidden[last + 32] = 20;
    let size = (end - directory + 20) as u32;
    hidden[end + 20 + 12..end + 20 + 16].copy_from_slice(&size.to_le_bytes());
    refused("a directory of zip64 in a comment", &hidden, "zip64");
    let order = Archive::new().add("a/BYTEORDER", b"big").add("a/data.pkl", &pickle(b"}"));
    refused("the byte order in capitals", &order.finish(), "little-endian");
}

#[test]
fn many_names_of_one_storage_are_out_of_proportion() {
    let tensors: Vec<u8> = (0..9_000)
        .flat_map(|i| [text(&i.to_string()), Tensor::default().pickled()].concat())
        .collect();
    let all = [b"}(".to_vec(), tensors, b"u".to_vec()].concat();
    // The pickle of these is larger than the tensors; that of large ones is not.
    Weights::from_bytes("small ones", zip(&all)).expect("in proportion");
    let count = 1 << 20;
    let large =
        Tensor { elements: count, shape: vec![count], stride: vec![1], ..Tensor::default() };
    let tensors: Vec<u8> =
        (0..5).flat_map(|i| [text(&i.to_string()), large.pickled()].concat()).collect();
    let all = pickle(&[b"}(".to_vec(), tensors, b"u".to_vec()].concat());
    let file = Archive::new().add("a/data.pkl", &all).add("a/data/0", &vec![0; 4 << 20]).finish();
    refused("20 MiB of tensors in 4", &file, "4 times");
}

#[test]
fn values_are_those_that_were_written() {
    let mut bytes = zip(&one(Tensor::default()));
    let five = 5f32.to_le_bytes();
    let at = bytes.windows(4).position(|window| window == five).expect("the last number");
    bytes[at..at + 4].fill(0);
    let weights = Weights::from_bytes("damaged", bytes).expect("a right header");
    let error = weights.values("weight").expect_err("a zero in the place of five").to_string();
    assert!(error.contains("CRC-32"), "{error}");
}

#[test]
fn a_strangers_text_cannot_control_the_terminal() {
    let escapes = "\u{1b}[31mred\u{202e}";
    for bytes in [
        zip(&dict(&[(escapes, b"K\x01".to_vec())])),
        zip(&dict(&[(escapes, global(escapes, "x"))])),
        Archive::new().add(escapes, b"").finish(),
        [
            &57u64.to_le_bytes()[..],
            format!(r#"{{"{escapes}":{{"dtype":"F3","shape":[2]}}}}       "#).as_bytes(),
        ]
        .concat(),
    ] {
        let error = Weights::from_bytes("stranger", bytes).expect_err("refused").to_string();
        assert!(!error.contains('\u{1b}') && !error.contains('\u{202e}'), "{error:?}");
    }
}

#[test]
fn absurd_safetensors_are_refused() {
    let file = |json: &str| [&(json.len() as u64).to_le_bytes()[..], json.as_bytes()].concat();
    let huge =
        r#"{"w":{"dtype":"F32","shape":[0,1099511627776,1099511627776],"data_offsets":[0,0]}}"#;
    refused("no elements of absurd size", &file(huge), "");
    let long =
        format!(r#"{{"{}":{{"dtype":"F32","shape":[],"data_offsets":[0,4]}}}}"#, ".".repeat(9000));
    refused("a name of 9,000 dots", &[file(&long), vec![0; 4]].concat(), "512 bytes");
}

#[test]
fn pickles_that_are_not_whole_are_refused() {
    for (name, value, says) in [
        ("a text of 2^63 bytes", &b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7f"[..], "bytes of pickle"),
        ("a number of 2^32 bytes", b"\x8b\xff\xff\xff\xff", "bytes of pickle"),
        ("a frame past the end", b"\x95\xff\xff\xff\xff\xff\xff\xff\xff", "bytes of pickle"),
        ("a name without an end", b"cos", ""),
        ("text that is none", b"X\x02\x00\x00\x00\xff\xfe", "UTF-8"),
        ("nothing on the stack", b"", "stack"),
        ("a tuple of what is not there", b"\x87", "stack"),
        ("a tuple across a mark", b"N(N\x86", "stack"),
        ("no mark", b"Nt", "stack"),
        ("a memo that was not set", b"h\x05", "memo 5"),
        ("protocol 6", b"\x80\x06", "protocol"),
        ("a key without a value", b"}(Nu", "value"),
        ("items for a number", b"K\x01(NNu", "dict"),
        ("items for a set that is none", b"](N\x90", "set"),
        ("a call of a text", b"X\x01\x00\x00\x00a)R", "a string"),
        ("arguments that are no tuple", b"ccollections\nOrderedDict\nNR", "arguments"),
        ("a number", b"K\x01", "the number 1"),
        ("a storage by number", b"K\x01Q", "storage"),
        ("an empty dict", b"}", "dict of 0"),
    ] {
        refused_pickle(name, value, says);
    }
}

#[test]
fn archives_that_torch_would_not_write_are_refused() {
    let value = pickle(&one(Tensor::default()));
    let numbers = [0u8; 24];
    let good = || Archive::new().add("a/data.pkl", &value).add("a/data/0", &numbers);
    let deflated = CompressionMethod::DEFLATE;
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("two pickles", good().add("a/data.pkl", &value).finish(), "twice"),
        ("two storages", good().add("a/data/0", &numbers).finish(), "twice"),
        ("another folder", good().add("b/data/1", &numbers).finish(), "folder"),
        ("compressed", good().add_as("a/x", b"", deflated, false).finish(), "compress"),
        (
            "encrypted",
            good().add_as("a/x", b"", CompressionMethod::STORE, true).finish(),
            "encrypted",
        ),
        ("big-endian", good().add("a/byteorder", b"big").finish(), "big"),
        ("TorchScript", good().add("a/constants.pkl", &value).finish(), "TorchScript"),
        ("code", good().add("a/code/a.py", b"").finish(), "TorchScript"),
        (
            "compressed TorchScript",
            good().add_as("a/code/a.py", b"", deflated, false).finish(),
            "TorchScript",
        ),
        ("names equal but for case", good().add("a/DATA.PKL", &value).finish(), "twice"),
        ("no pickle", Archive::new().add("a/data/0", &numbers).finish(), "data.pkl"),
        ("no folder", Archive::new().add("photo.jpg", &numbers).finish(), "data.pkl"),
        ("no storage", Archive::new().add("a/data.pkl", &value).finish(), "\"0\""),
        (
            "a short storage",
            Archive::new().add("a/data.pkl", &value).add("a/data/0", &numbers[1..]).finish(),
            "24 bytes",
        ),
        ("bytes behind it", [good().finish(), vec![0]].concat(), ""),
        ("bytes before it", [b"PK\x03\x04".to_vec(), good().finish()].concat(), ""),
        (
            "two pickles in one",
            Archive::new().add("a/data.pkl", &[&value[..], &value].concat()).finish(),
            "single pickle",
        ),
        ("only the start", b"PK\x03\x04".to_vec(), "zip"),
        ("a tar", [&[0; 257][..], b"ustar", &[0; 250]].concat(), ""),
    ];
    for (name, bytes, says) in cases {
        refused(name, &bytes, says);
    }
}

#[test]
fn an_entry_that_borrows_anothers_data_is_refused() {
    // The second entry of the directory points to the first one's data.
    let value = pickle(&one(Tensor::default()));
    let bytes = Archive::new().add("a/data.pkl", &value).add("a/data/0", &value).finish();
    let directory: Vec<usize> =
        (0..bytes.len() - 4).filter(|&i| bytes[i..].starts_with(b"PK\x01\x02")).collect();
    let mut borrowed = bytes.clone();
    borrowed[directory[1] + 42..directory[1] + 46].copy_from_slice(&[0; 4]);
    refused("borrowed", &borrowed, "another name");
    // More than there is.
    let mut longer = bytes.clone();
    for field in [20, 24] {
        longer[directory[0] + field..directory[0] + field + 4]
            .copy_from_slice(&(value.len() as u32 + 40).to_le_bytes());
    }
    refused("overlapping", &longer, "overlap");
    let mut absurd = bytes;
    for field in [20, 24] {
        absurd[directory[0] + field..directory[0] + field + 4].copy_from_slice(&[0xf0; 4]);
    }
    refused("4 GB in a kilobyte", &absurd, "");
}

#[test]
fn random_opcodes_are_refused_soon() {
    let mut state = 1u64;
    let mut random = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    const OPCODES: &[u8] = b".(01NKJ)]}abetusdlhqrjcRbQ\x81\x85\x86\x87\x88\x89\x8a\x93\x94";
    let mut read = 0;
    for _ in 0..3000 {
        let value: Vec<u8> = (0..40).map(|_| OPCODES[random() as usize % OPCODES.len()]).collect();
        read += usize::from(refusal("random opcodes", &zip(&value)).is_none());
    }
    assert_eq!(read, 0, "no random pickle has a tensor");
}
