"""Small evaluation sets in folders, as others publish them: three plain pictures with two captions each, or classes."""

import csv
import io
import json
from pathlib import Path

from PIL import Image

COLOURS = ["red", "green", "blue"]
CAPTIONS = {colour: [f"a {colour} field", f"{colour} paint, dry"] for colour in COLOURS}


def write_pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for colour, name in zip(COLOURS, names, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 16), colour).save(folder / name, "JPEG")


def write_coco(folder: Path) -> None:
    names = [f"{number:012d}.jpg" for number in (9, 42, 7)]
    write_pictures(folder / "val2017", names)
    (folder / "annotations").mkdir()
    for split, used in (("val2017", names), ("train2017", names[:1])):
        images = [{"id": number, "file_name": name, "height": 16} for number, name in enumerate(used)]
        rows = [
            {"id": 10 * turn + number, "image_id": number, "caption": f"  {CAPTIONS[colour][turn]}\n"}
            for turn in (0, 1)  # as COCO has them: the captions of a picture do not follow each other
            for number, colour in enumerate(COLOURS[: len(used)])
        ]
        document = {"info": {}, "images": images, "annotations": rows}
        (folder / "annotations" / f"captions_{split}.json").write_text(json.dumps(document))
    (folder / "annotations" / "instances_val2017.json").write_text("{}")


def write_karpathy(folder: Path, name: str = "flickr30k") -> None:
    coco = name == "coco"
    paths = ["val2014" if coco else "", "train2014" if coco else "", "val2014" if coco else ""]
    names = [f"{number}.jpg" for number in range(3)]
    write_pictures(
        folder if coco else folder / "flickr30k-images", ["/".join(filter(None, pair)) for pair in zip(paths, names, strict=True)]
    )
    images = [
        {
            "filename": filename,
            **({"filepath": path} if coco else {}),
            "split": "test",
            "sentences": [{"raw": caption, "tokens": []} for caption in CAPTIONS[colour]],
        }
        for colour, path, filename in zip(COLOURS, paths, names, strict=True)
    ]
    images.append({"filename": "9.jpg", "split": "train", "sentences": [{"raw": "not this"}]})
    (folder / f"dataset_{name}.json").write_text(json.dumps({"images": images, "dataset": name}))


def write_flickr30k(folder: Path, table: str = "results.csv") -> None:
    names = [f"{number}.jpg" for number in (1000092795, 10002456, 1000268201)]
    write_pictures(folder / ("flickr30k_images/flickr30k_images" if table == "results.csv" else "Images"), names)
    rows = [(name, turn, caption) for name, c in zip(names, COLOURS, strict=True) for turn, caption in enumerate(CAPTIONS[c])]
    text = io.StringIO()
    if table == "results.csv":
        text.write("image_name| comment_number| comment\n")
        text.writelines(f"{name}| {turn}| {caption}\n" for name, turn, caption in rows)
        text.write("2199200615.jpg| 4   A dog runs\n")  # the row of the published file that is cut off
    elif table == "results_20130124.token":
        text.writelines(f"{name}#{turn}\t{caption}\n" for name, turn, caption in rows)
    elif table == "captions.txt":
        csv.writer(text).writerows([("image", "caption"), *((name, caption) for name, _, caption in rows)])
    else:
        raws = [(json.dumps(CAPTIONS[colour]), "test", name, "1") for name, colour in zip(names, COLOURS, strict=True)]
        raws.append((json.dumps(["not this"]), "train", "9.jpg", "2"))
        csv.writer(text).writerows([("raw", "split", "filename", "img_id"), *raws])
    (folder / table).write_text(text.getvalue())


def write_xtd(folder: Path) -> None:
    names = ["COCO_val2014_000000000001.jpg", "COCO_train2014_000000000002.jpg", "COCO_val2014_000000000003.jpg"]
    write_pictures(folder / "val2014", names)
    (folder / "train2014").mkdir()
    (folder / "val2014" / names[1]).rename(folder / "train2014" / names[1])
    (folder / "test_image_names.txt").write_text("".join(f"{name}\n" for name in names))
    (folder / "test_1kcaptions_en.txt").write_text("".join(f"{CAPTIONS[colour][0]}\n" for colour in COLOURS))
    (folder / "test_1kcaptions_de.txt").write_text("rot gestrichen\ngrün gestrichen\nblau gestrichen\n")


def write_imagenet(folder: Path, listed: str = "LOC_synset_mapping.txt") -> None:
    wnids = ["n01440764", "n01443537", "n01484850"]
    write_pictures(folder / "val", [f"{wnid}/ILSVRC2012_val_{number}.JPEG" for number, wnid in enumerate(wnids)])
    if listed.endswith(".json"):
        entries = {
            str(number): [wnid, f"{colour}_field"] for number, (wnid, colour) in enumerate(zip(wnids, COLOURS, strict=True))
        }
        (folder / listed).write_text(json.dumps(entries))
    elif listed:
        separator = "\t" if listed == "words.txt" else " "
        lines = [f"{wnid}{separator}{colour} field, {colour}" for wnid, colour in zip(wnids, COLOURS, strict=True)]
        (folder / listed).write_text("\n".join([*lines, f"n99999999{separator}another"]) + "\n")
