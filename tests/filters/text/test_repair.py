"""Captions are repaired in every language alike: words are decoded or cut, never added, and sound captions stay as they are."""

import html
import re
import unicodedata

import ftfy
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.text.repair import repair

REPAIRS = {
    "encoding": {
        "CafÃ© de la Paix at night": "Café de la Paix at night",
        "Un garÃ§on prÃ¨s de la fenÃªtre": "Un garçon près de la fenêtre",
        "Ein MÃ¤dchen auf der BrÃ¼cke": "Ein Mädchen auf der Brücke",
        "The children\u00e2\u20ac\u2122s playground": "The children’s playground",
        "ÐšÑ€Ð°Ñ\u0081Ð½Ð°Ñ\u008f Ð»Ð¸Ñ\u0081Ð° Ð½Ð° Ñ\u0081Ð½ÐµÐ³Ñƒ": "Красная лиса на снегу",
        "РљСЂР°СЃРЅР°СЏ Р»РёСЃР°": "Красная лиса",
    },
    "entities": {
        "Bride &amp; groom on the beach": "Bride & groom on the beach",
        "&#39;Night Train&#39; star at a gala": "'Night Train' star at a gala",
        "Caf&eacute; am See &ndash; Blick auf die Alpen": "Café am See – Blick auf die Alpen",
        "Rock &amp;amp; roll band on stage": "Rock & roll band on stage",
        "Une &amp;eacute;glise au bord de l&amp;#8217;eau": "Une église au bord de l’eau",
        "A&nbsp;cat on a&#x20;roof": "A cat on a roof",
        "&#1050;&#1086;&#1090; на крыше": "Кот на крыше",
    },
    "tags": {
        "A <b>red</b> fox in the <i>snow</i>": "A red fox in the snow",
        "Orchids<br />in a glass house<br>": "Orchids in a glass house",
        "&lt;p&gt;Two cats on a roof&lt;/p&gt;": "Two cats on a roof",
        '<a href="http://a/b?c=d&e" target=_blank>Zwei Kinder</a> am Strand': "Zwei Kinder am Strand",
        "<!-- 31 -->Un perro en la playa": "Un perro en la playa",
        'A boat at sea <span class="cap': "A boat at sea",
    },
    "quotes": {
        '"A sign says ""open"" above a door"': 'A sign says "open" above a door',
        "Children\\'s bicycle in a yard": "Children's bicycle in a yard",
    },
    "stock sites": {
        "Girl feeding ducks at a pond — Stock Photo #90817263": "Girl feeding ducks at a pond",
        "Sailors on an old pier Royalty Free Stock Photography": "Sailors on an old pier",
        "Two boys playing chess | Shutterstock": "Two boys playing chess",
        "A red barn in a field - Getty Images": "A red barn in a field",
        "Hikers near a tent Stock Photo - Royalty-Free, Artist: anna , Code: 123-0987": "Hikers near a tent",
        "hands of a potter at work - clay stock videos & royalty-free footage": "hands of a potter at work",
        "Royalty-Free Stock Photo: Couple on a sofa": "Couple on a sofa",
        "Alter Mann auf einer Bank — Stockfoto": "Alter Mann auf einer Bank",
        "Blick auf den See, Lizenzfreies Stockfoto": "Blick auf den See",
        "Femme lisant un livre — Photo de stock #123456": "Femme lisant un livre",
        "Mujer con sombrero en la playa — Foto de Stock": "Mujer con sombrero en la playa",
        "Gatto sul tetto — Foto Stock": "Gatto sul tetto",
        "Menina com balão vermelho — Fotografia de Stock": "Menina com balão vermelho",
        "Kot na dachu - zdjęcia stockowe": "Kot na dachu",
        "Sahilde yürüyen kadın — Stok fotoğraf": "Sahilde yürüyen kadın",
        "Девочка с красным шаром — стоковое фото": "Девочка с красным шаром",
        "海滩上的女人 — 图库照片 #34659913": "海滩上的女人",
        "浜辺を歩く女性 — ストック写真": "浜辺を歩く女性",
        "浜辺を歩く女性の写真素材": "浜辺を歩く女性",
        "Γυναίκα σε μια παραλία — Φωτογραφία Αρχείου": "Γυναίκα σε μια παραλία",
        "해변을 걷는 여자 스톡 사진": "해변을 걷는 여자",
    },
    "credits": {
        "A man rides a horse. (Photo by Ann Lee/Getty Images)": "A man rides a horse.",
        "Fans cheer in the rain, May 3, 2021. (AP Photo/Ann Lee)": "Fans cheer in the rain, May 3, 2021.",
        "A worker paints a wall (Credit: J. R. Smith)": "A worker paints a wall",
        "Brokers trade on the floor. REUTERS/Ann Lee/Files": "Brokers trade on the floor.",
        "Girls at a well, photo courtesy of the museum": "Girls at a well",
        "Runners at the start. Mandatory Credit: Ann Lee-US PRESSWIRE": "Runners at the start.",
        "The old bridge at dusk © Ann Lee 2013": "The old bridge at dusk",
        "Kinder spielen im Park. Foto: dpa": "Kinder spielen im Park.",
        "Ein Zug fährt über die Brücke (Bild: Imago/Müller)": "Ein Zug fährt über die Brücke",
        "Des enfants jouent dans un parc. Crédit photo : AFP": "Des enfants jouent dans un parc.",
        "Niños en la plaza del pueblo (Foto: EFE)": "Niños en la plaza del pueblo",
        "Crianças na praça da cidade. Foto: Divulgação/Prefeitura": "Crianças na praça da cidade.",
        "Bambini in piazza a Roma. Foto: ANSA": "Bambini in piazza a Roma.",
        "Dzieci na rynku w Krakowie. Fot. PAP/Jan Nowak": "Dzieci na rynku w Krakowie.",
        "Дети на площади в Твери. Фото: ТАСС": "Дети на площади в Твери.",
        "孩子们在公园里玩耍。图片来源：视觉中国": "孩子们在公园里玩耍。",
        "孩子们在公园里玩耍（图源：新华社）": "孩子们在公园里玩耍",
        "孩子们在公园里玩耍。 新华社记者 李明 摄": "孩子们在公园里玩耍。",
        "公園で遊ぶ子どもたち（写真：共同）": "公園で遊ぶ子どもたち",
        "공원에서 노는 아이들. 사진=연합뉴스": "공원에서 노는 아이들.",
        "أطفال يلعبون في الحديقة. تصوير: أحمد علي": "أطفال يلعبون في الحديقة.",
        "ילדים משחקים בפארק. צילום: דוד לוי": "ילדים משחקים בפארק.",
        "Trẻ em chơi trong công viên. Ảnh: Reuters": "Trẻ em chơi trong công viên.",
        "पार्क में खेलते बच्चे। फोटो: राम कुमार": "पार्क में खेलते बच्चे।",
    },
    "rights": {
        "Two horses graze in a meadow. All rights reserved.": "Two horses graze in a meadow.",
        "Two horses graze in a meadow. © 2019 Ann Lee. All Rights Reserved": "Two horses graze in a meadow.",
        "Zwei Pferde stehen auf einer Wiese. Alle Rechte vorbehalten.": "Zwei Pferde stehen auf einer Wiese.",
        "Deux chevaux dans un pré vert. Tous droits réservés": "Deux chevaux dans un pré vert.",
        "Dos caballos en un prado verde. Todos los derechos reservados.": "Dos caballos en un prado verde.",
        "Due cavalli in un prato verde. Tutti i diritti riservati.": "Due cavalli in un prato verde.",
        "Две лошади стоят на лугу. Все права защищены.": "Две лошади стоят на лугу.",
        "两匹马在草地上吃草。版权所有，侵权必究": "两匹马在草地上吃草。",
    },
    "click": {
        "Oak desk with drawers - Click to see a larger picture": "Oak desk with drawers",
        "A cat on a roof (click to enlarge)": "A cat on a roof",
        "Click to see a larger picture of Blue Glass Bowls": "Blue Glass Bowls",
        "Load image into Gallery viewer, Wooden lamp in oak": "Wooden lamp in oak",
        "Eine Katze auf dem Dach (zum Vergrößern klicken)": "Eine Katze auf dem Dach",
        "Un chat sur le toit. Cliquez pour agrandir": "Un chat sur le toit.",
        "Un gato en el tejado - haga clic para ampliar": "Un gato en el tejado",
        "Um gato no telhado - CLIQUE PARA AMPLIAR": "Um gato no telhado",
        "Un gatto sul tetto - clicca per ingrandire": "Un gatto sul tetto",
        "Een kat op het dak - klik om te vergroten": "Een kat op het dak",
        "Кот сидит на крыше. Нажмите, чтобы увеличить": "Кот сидит на крыше.",
        "屋顶上的一只猫（点击查看大图）": "屋顶上的一只猫",
        "屋根の上の猫（クリックで拡大）": "屋根の上の猫",
        "지붕 위의 고양이 (클릭하면 확대)": "지붕 위의 고양이",
    },
    "files and addresses": {
        "apple cake with cream.jpg": "apple cake with cream",
        "File:Girls in a rowing boat.JPG": "Girls in a rowing boat",
        "Eine Katze auf dem Dach.png": "Eine Katze auf dem Dach",
        "屋顶上的小猫.jpg": "屋顶上的小猫",
        "A tote bag with a pocket. http://www.a.com/2015/bag.html": "A tote bag with a pocket.",
    },
    "cut off": {
        "A man walks a dog on the beach. The sun is setting behind the...": "A man walks a dog on the beach.",
        "Two skiers wait for the lift on the last day of the winter...": "Two skiers wait for the lift on the last day",
        "old man with a pipe - smoking, portrait, beard and...": "old man with a pipe",
        "a girl feeds the ducks on a small pond in the park ...": "a girl feeds the ducks on a small pond in the park",
        "a well - dressed man walks down the street with a dog and ...": "a well - dressed man walks down the street with a dog",
        "A tiger rests in the shade (photo taken in the zo": "A tiger rests in the shade",
        "The Art of Sailing for Beginners, Second Edition (Sea ...": "The Art of Sailing for Beginners, Second Edition",
        "Linen Summer Dress by Anna Lee,": "Linen Summer Dress by Anna Lee",
        "Ein Mann geht mit dem Hund am Strand. Die Sonne geht hinter …": "Ein Mann geht mit dem Hund am Strand.",
        "Un homme promène son chien sur la plage de Nice, en ...": "Un homme promène son chien sur la plage de Nice",
        "Un hombre pasea con su perro por la playa de ...": "Un hombre pasea con su perro por la playa",
        "Мужчина гуляет с собакой по берегу моря в ...": "Мужчина гуляет с собакой по берегу моря",
        "男子在沙滩上遛狗。夕阳正在……": "男子在沙滩上遛狗。",
    },
}
CASES = [(before, after) for cases in REPAIRS.values() for before, after in cases.items()]


@pytest.mark.parametrize("before, after", CASES)
def test_a_caption_is_repaired(before: str, after: str) -> None:
    assert repaired([before]) == [after]


SOUND = [
    "A red fox in the snow",
    "Is 3 < 4 and 5 > 4? A lesson in algebra",
    "Fish & chips at AT&T Park; R&D lab",
    "ROSE PÂLE, São Paulo, Ångström, LÃ",
    "The broker sells stock images of cities to the press",
    "A photo by the sea",
    "A painter at her easel, photo by the window",
    "Photo credit: Shutterstock",
    "点击查看大图",
    "点击查看高清原图",
    "Photo of a dog that waits for its owner",
    "How to open a .jpg file on a phone",
    "To be continued...",
    "IMG_1234.jpg",
    "sunset-at-the-beach.jpg",
    "Foto: EFE",
    "Stock Photo",
    "Getty Images",
    "Click to enlarge",
    "© 2019 Ann Lee. All rights reserved.",
    "Tags: sea, sun, sand,",
    '"To be or not to be"',
    "<img src='a.jpg'>",
    "Sad face :(",
    "U.S. Open (tennis)",
    "今天的风景很美",
    "“伦敦之行很愉快，我见了鲍里斯·叶利钦…”",
    "نص عربي عن قطة على السطح",
    "Il était une fois…",
    "Vitamin A",
    "",
    "&amp;" * 1000,
    "A cat on a roof" + " - Shutterstock" * 100,
]


def test_a_sound_caption_and_one_with_nothing_whole_in_it_stay_as_they_are() -> None:
    assert repaired(SOUND) == [None] * len(SOUND)


PIECES = [piece for before, _ in CASES for piece in re.findall(r"\W*\w+\W*", before)]
pieced = st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
captions = pieced | st.text(max_size=40) | st.sampled_from([before for before, _ in CASES])


def repaired(texts: list[str]) -> list[str | None]:
    return repair(pa.chunked_array([texts], pa.string())).to_pylist()


@settings(deadline=None, max_examples=60)
@given(st.lists(captions, max_size=30), st.integers(0, 5), st.integers(0, 30))
def test_a_repair_is_a_matter_of_the_caption_alone_and_is_final(texts: list[str], first: int, cut: int) -> None:
    column = pa.chunked_array([texts[:cut], texts[cut:]], pa.string()).slice(first)
    changed = repair(column)
    assert len(changed) == len(column)
    after = [new if new is not None else old for old, new in zip(column.to_pylist(), changed.to_pylist(), strict=True)]
    assert repaired(after) == [None] * len(after)
    assert repaired([*reversed(texts[first:])]) == [*reversed(changed.to_pylist())]
    assert all(new is None or (new and new != old) for old, new in zip(column.to_pylist(), changed.to_pylist(), strict=True))


def decoded(text: str) -> str:
    """The text with everything decoded that a repair may decode, as often as it can be, tags taken out."""
    while True:
        before, text = text, html.unescape(ftfy.fix_encoding(text))
        text = re.sub(r"<[^<>]*>", "", text)
        if text == before:
            return text


def words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFC", text))


@settings(deadline=None, max_examples=150)
@given(st.lists(captions, max_size=20))
def test_no_word_is_invented(texts: list[str]) -> None:
    for before, after in zip(texts, repaired(texts), strict=True):
        if after is not None:
            source = "".join(words(decoded(before)) + words(html.unescape(before)) + words(before))
            assert all(word in source for word in words(after)), (before, after)
