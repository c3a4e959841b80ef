"""Placeholder text: what a template or a camera puts where nobody wrote a caption."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names placeholder text; the patterns are ours"

CAMERA = (
    r"_?img|_mg|_?dsc[nf]?|dscf|p|pict?|mvi|mov|vid|gopr|gopro|dji|sam|cimg|hpim|kimg|wp|pxl|fb_img|screenshot|screen shot|snapchat|capture|scan"
    r"|image|images|photo|picture|pic|untitled|unnamed|file|slide|bild|foto|imagen|imagem|immagine|unbenannt|sans titre|sin título"
    r"|bildschirmfoto|schermata|captura(?: de (?:pantalla|tela))?|снимок(?: экрана)?|изображение|фото|图片|图像|照片|截图|屏幕截图|微信图片"
    r"|微信截图|画像|写真|スクリーンショット|이미지|사진|스크린샷|صورة|लोगो"
)

CAMERA_NAMES = (
    rf"(?i)^\W*(?:copy of |kopie von )?(?:{CAMERA})[\s_.-]*(?:\(\d+\)|\(?\d+\)?)(?:[\s_.:\-]*(?:at |um |à )?(?:\d+(?:x\d+)?|wa\d+|copy|kopie|copia|copie|edit(?:ed)?|bearbeitet|web|small|klein|복사본|副本|のコピー|[ap]m))*\s*$",
    r"(?i)^\W*(?:screenshot|screen shot|bildschirmfoto|capture d['’]écran|captura de pantalla|снимок экрана|屏幕截图|截屏|スクリーンショット)(?: from)?[\s_.\-:\d]*(?:at |um |à |alle )?[\s_.\-:\d]*(?:[ap]m)?$",
    r"(?i)^\W*whatsapp[ _-](?:image|video)[ _-]\d",
    r"(?i)^\W*(?:sony dsc|(?:olympus|konica minolta|kodak|samsung|vivitar|exif|nikon|pentax) (?:digital (?:still )?camera|jpeg)|exif[_ ]jpeg\w*|hqdefault|maxresdefault|sddefault|mqdefault|gettyimages-[\d-]+|istock[_-]?\d+\w*|shutterstock[_-]\d+|adobestock[_-]\d+|depositphotos[_-]\d+\w*|dreamstime\w*_\d+)\W*(?:\(?\d+\)?)?\W*$|^\W*processed with (?:vsco|rni|moldiv|snapseed|mextures)\b|^\W*created (?:with|by) (?:gimp|imagegear|adobe)\b.{0,30}$",
    r"^\S+@[23]x\W*$",
    r"^\W*(?:QQ|微信|企业微信|搜狗)?(?:截图|图片|照片)_?\d{6,}.{0,10}$|^\W*(?:未命名|未标题|名称未設定|無題|제목 없음)\W*\d*\W*(?:的?副本|のコピー|사본|.{0,12}画板.{0,4})?\W*$|^\W*(?:\S{1,8}\.(?i:jpe?g|png|gif))\s*\(.{2,40}\)\W*$",
)

NOTHING = (
    r"placeholder|untitled(?:[ -]?(?:image|design|document|project|page|post|photo|artwork|\d+))?|unnamed|unknown|undefined|null|none|nan|n/a|tbd|tba|todo|fixme|xxx+",
    r"\[?object object\]?|(?:this is (?:a |the |an |just a )?)?(?:test|testing|demo|sample|example|dummy|foo ?bar|foo|bar|baz)(?:[ _-]?(?:image|photo|picture|caption|text|post|page|title|file|alt|content|data))?(?:[ _-]?\d+)?",
    r"(?:sorry,? )?no (?:image|photo|picture|caption|title|description|alt(?:ernative)? text|thumbnail|cover|logo|preview|text|content|name|data|avatar)s?(?: (?:available|yet|found|provided|here|set|added|uploaded))?(?: yet)?",
    r"(?:image|photo|picture|preview|thumbnail|caption|description|photograph|content|logo)s? (?:is |are )?(?:not (?:yet )?(?:available|found|provided|set)|unavailable|missing|coming soon|pending|to follow|here|goes here|placeholder|description|title|alt(?: text)?|caption|url|source|credit|name|\d+)",
    r"(?:coming soon|under construction|work in progress|awaiting (?:image|photo)|to be (?:announced|added|confirmed|determined))",
    r"(?:default|sample|dummy|placeholder|featured|blank|missing|empty|spacer|generic|stock|temporary|temp|new|main|hero|banner|header|background|cover|thumbnail|thumb|product|post|blog|article|profile|user|team member|section|slider|gallery)[ _-]?(?:image|photo|picture|pic|text|caption|title|img|thumbnail|avatar|icon|logo|placeholder|name|description)s?(?:[ _-]?\d+)?",
    r"(?:your |the |an? |my |some )?(?:alt(?:ernative|ernate)?[ _-]?(?:text|tag|attribute)?|caption|description|title|headline|heading|subtitle|text|content|name|message|logo|ad|image|photo|picture)(?: (?:goes|comes|is|will be|should be|text))?(?: (?:here|for (?:the |this )?image))",
    r"(?:alt(?:ernative|ernate)?[ _-]?(?:text|tag|attribute)|alt|caption|description|title|image|img|photo|picture|pic|icon|logo|avatar|thumbnail|banner|spacer|pixel|blank|bullet|arrow|divider|separator|border|background|header|footer|slide|slideshow|carousel|screenshot|graphic|illustration|attachment|media|file|video|gallery|main|gif|jpg|png)",
    r"(?:please )?(?:enter|insert|add|type|write|put|provide|paste|place|edit|change|replace|describe|upload|choose|select|set)(?: in)? (?:your |an? |the |this |some |with (?:your )?)?(?:own )?(?:alt(?:ernative|ernate)?[ _-]?text|caption|description|title|text|image|photo|picture|content|name|headline|image description|file)(?: (?:here|for (?:the |this |your )?(?:image|photo|picture)|below|of (?:the |this )?image))?",
    r"(?:insert|your|company|business|brand|product|customer|user|first|last|full|file|image|photo|author|site|website|client|event|project|page|post|category)[ _-]?(?:name|title|logo|slogan|tagline|description|image|photo|text|caption)(?: (?:here|goes here))?",
    r"(?:\S+ ){1,6}(?:hero|featured|thumbnail|header|placeholder|fallback|og|social sharing) (?:image|img|photo|picture|thumbnail)",
    r"(?:article|post|video|page|product|blog|news)? ?(?:image|thumbnail|photo|picture)s? (?:thumbnail|default|placeholder|here)(?: default)?|(?:video|image) thumbnail|image description goes here.{0,20}|(?:logo|company name|text here|your slogan|your name here)(?:\W+(?:logo|company name|text here|your slogan|your name here|your logo))+|image result for",
    r"(?:image|photo|picture|pic|img|logo|foto|bild) ?(?:of|for|by|from|credit|source|courtesy(?: of)?)?[ :]*",
)

OTHERS = {
    "nl": r"geen (?:afbeelding|foto|beeld|omschrijving)(?: beschikbaar)?|afbeelding (?:niet beschikbaar|volgt)|zonder titel|voorbeeld(?:afbeelding|foto|tekst)|binnenkort beschikbaar|afbeelding|omschrijving",
    "pl": r"brak (?:zdjęcia|obrazu|opisu|tytułu|obrazka)|zdjęcie (?:niedostępne|poglądowe|w przygotowaniu)|bez tytułu|obrazek|zdjęcie|opis|tytuł",
    "tr": r"resim (?:yok|bulunamadı|hazırlanıyor)|görsel (?:yok|bulunamadı|hazırlanıyor)|fotoğraf (?:yok|bulunamadı)|başlıksız|resim|görsel|açıklama|yakında",
    "sv": r"bild saknas|ingen bild|bilden saknas|namnlös|utan titel|kommer snart|intet billede|ingen billede|uten tittel|ingen bilde|ei kuvaa|kuva puuttuu",
    "cs": r"bez (?:názvu|obrázku|popisu)|obrázek (?:není k dispozici|chybí)|není k dispozici|nincs kép|kép hamarosan|fără (?:imagine|titlu)|imagine indisponibilă",
    "id": r"tidak ada (?:gambar|foto)|gambar (?:tidak tersedia|belum tersedia)|tanpa judul|segera hadir|không có (?:ảnh|hình)|chưa có (?:ảnh|hình)|đang cập nhật|ไม่มี(?:รูป|ภาพ)(?:ภาพ)?|ไม่มีชื่อ|אין תמונה|ללא כותרת|χωρίς (?:τίτλο|εικόνα)|без назви|немає (?:фото|зображення)",
    "zh": r"(?:图片|图像|照片|文章|产品|商品|商家|用户|公司|网站|默认|缩略|配|题|头|插|示例|测试|占位)?(?:图片?|图像|照片|文字|文本|标题|描述|说明|名称|内容|简介|头像|封面|配图|logo)(?:描述|说明|标题|名称|占位符?|待上传|待补充|缺失)?|(?:暂无|没有|无|缺少)(?:图片?|照片|描述|标题|说明|内容|数据|简介|封面|文字)(?:说明|描述)?|无标题|未命名(?:文件|图片|文档)?\d*|无题图|默认(?:图片|标题|头像|图)|(?:请|在此处?|在这里|点击|此处)+(?:输入|填写|添加|编辑|插入|上传)(?:您的|你的|图片|文字|标题|描述|说明|内容|此处的?)*(?:文字|标题|描述|说明|内容|图片)?|(?:这里|此处)(?:是|填写|放|输入|添加|显示)(?:图片|标题|描述|文字|内容|说明|您的文字)+|敬请期待|待定|待补充|测试(?:图片|标题|数据|文字)?\d*|示例(?:图片|文字|标题)?\d*|占位(?:符|图|文字|图片)?|图片(?:来源|替代文字|丢失|不见了|即将上线)",
    "de": r"kein (?:bild|foto|titel)(?: (?:vorhanden|verfügbar))?|keine (?:beschreibung|bildbeschreibung|vorschau)(?: (?:vorhanden|verfügbar))?|bild (?:folgt|nicht (?:verfügbar|vorhanden)|in kürze)|foto folgt|platzhalter(?:bild|text)?|beispiel(?:bild|text|foto)|musterbild|ohne titel|unbenannt|bildbeschreibung|bildtitel|alternativtext|beschreibung|titel|(?:hier )?(?:steht |kommt )?(?:ihr|dein|der) (?:text|titel|bild)(?: (?:hier|hin))?|text (?:hier )?(?:eingeben|einfügen)|hier (?:text|beschreibung|titel) eingeben|testbild|bild|foto|symbolbild",
    "fr": r"(?:pas d['’]image|aucune (?:image|photo|description)|image (?:non disponible|indisponible|à venir|par défaut|manquante)|photo (?:non disponible|à venir|manquante)|sans (?:titre|nom|légende)|(?:description|légende|titre|texte alternatif)(?: de l['’](?:image|photo))?(?: ici)?|votre (?:texte|titre|image|légende)(?: ici)?|(?:entrez|saisissez|insérez|ajoutez) (?:votre |un |une |le |la )?(?:texte|titre|description|légende|image)(?: ici)?|texte (?:de remplissage|ici|d['’]exemple)|image d['’](?:exemple|illustration)|bientôt disponible)",
    "es": r"(?:sin (?:título|titulo|imagen|foto|descripción|descripcion|nombre)|imagen no disponible|foto no disponible|no hay (?:imagen|foto|descripción)|(?:descripción|título|texto alternativo|pie)(?: de (?:la |una )?(?:imagen|foto))?(?: aquí)?|(?:tu|su) (?:texto|título|imagen)(?: aquí)?|(?:escribe|escriba|introduce|introduzca|añade|inserte|inserta)(?: aquí)? (?:tu |su |un |una |el |la |aquí )?(?:texto|título|descripción|imagen)(?: aquí)?|imagen (?:de (?:ejemplo|muestra|prueba)|por defecto|predeterminada|próximamente)|texto de (?:ejemplo|prueba|relleno)|próximamente)",
    "pt": r"(?:sem (?:título|imagem|foto|descrição|legenda|nome)|imagem (?:não disponível|indisponível|em breve|padrão|de (?:exemplo|teste))|foto não disponível|(?:descrição|título|legenda|texto alternativo)(?: da (?:imagem|foto))?(?: aqui)?|(?:seu|insira (?:o |seu |um )?|digite (?:o |seu |um )?|escreva (?:o |seu )?)\s?(?:texto|título|descrição|legenda)(?: aqui)?|texto de exemplo|em breve)",
    "it": r"(?:senza (?:titolo|nome)|nessun(?:a|o)? (?:immagine|foto|descrizione|titolo)(?: disponibile)?|immagine (?:non disponibile|in arrivo|segnaposto|di (?:esempio|prova)|predefinita)|foto non disponibile|(?:descrizione|titolo|didascalia|testo alternativo)(?: dell['’]immagine)?(?: qui)?|(?:il tuo|inserisci(?: qui)?(?: il)?|scrivi(?: qui)?(?: il)?)\s?(?:testo|titolo|descrizione)(?: qui)?|testo (?:segnaposto|di prova)|segnaposto|prossimamente)",
    "ru": r"(?:без (?:названия|имени|заголовка|описания|подписи|фото)|нет (?:фото|изображения|картинки|описания|названия|данных)|изображение (?:отсутствует|недоступно|не найдено|скоро будет)|фото (?:отсутствует|нет|скоро(?: будет)?|в пути)|(?:описание|название|заголовок|подпись|альтернативный текст)(?: (?:изображения|картинки|фото))?(?: здесь)?|(?:введите|вставьте|добавьте|напишите) (?:здесь )?(?:ваш |свой )?(?:текст|описание|заголовок|название|подпись)(?: здесь)?|ваш (?:текст|заголовок)(?: здесь)?|заглушка|тест(?:овое изображение|овый текст)?|пример (?:текста|изображения)|скоро(?: будет)?|картинка|изображение|рисунок|фото|логотип)",
    "ja": r"(?:画像(?:なし|がありません|準備中|の説明|はありません|タイトル|説明)|写真(?:なし|準備中|がありません)|準備中|近日公開|無題|タイトル(?:なし|未設定|を入力)?|説明(?:文|なし|を入力)?|代替テキスト|(?:ここに)?(?:テキスト|文章|説明|タイトル|見出し)を?(?:入力|入れて|記入)(?:してください|します)?|サンプル(?:画像|テキスト|文章)?|テスト(?:画像|テキスト|投稿)?|ダミー(?:画像|テキスト)?|アイキャッチ画像|画像|写真|イメージ|ロゴ|(?:この|これは)(?:文章|テキスト)はダミーです.*|noimage|no image)",
    "ko": r"(?:이미지\s*(?:없음|준비\s*중|설명|제목|가 없습니다)|사진\s*(?:없음|준비\s*중|설명)|제목\s*(?:없음|을 입력하세요|을 입력해\s*주세요)?|설명\s*(?:없음|을 입력하세요)?|(?:여기에\s*)?(?:내용|텍스트|설명|제목)[을를]?\s*(?:입력|작성)(?:하세요|해\s*주세요)?|대체\s*텍스트|샘플\s*(?:이미지|텍스트)?|테스트\s*(?:이미지)?|준비\s*중(?:입니다)?|기본\s*이미지|이미지|사진|로고|무제)",
    "ar": r"(?:لا (?:توجد|يوجد) (?:صورة|صور|وصف|عنوان)|بدون (?:عنوان|صورة|اسم)|صورة (?:غير متوفرة|غير متاحة|افتراضية|تجريبية)|(?:وصف|عنوان|نص) (?:الصورة|بديل)(?: هنا)?|(?:أدخل|اكتب|أضف) (?:النص|الوصف|العنوان|نصك)(?: هنا)?|النص البديل|نص تجريبي|قريبا|قريباً|صورة|شعار|عنوان|اختبار)",
    "hi": r"(?:कोई (?:छवि|फोटो|चित्र|विवरण|शीर्षक) (?:नहीं|उपलब्ध नहीं)(?: है)?|(?:छवि|चित्र|फोटो) (?:उपलब्ध नहीं|विवरण|का विवरण|शीर्षक|जल्द आ रही है)(?: है)?|(?:शीर्षक|विवरण|नाम) (?:नहीं|रहित|यहाँ (?:लिखें|दर्ज करें))|बिना शीर्षक|अनाम|यहाँ (?:टेक्स्ट|विवरण|शीर्षक|पाठ) (?:लिखें|दर्ज करें|डालें)|वैकल्पिक पाठ|नमूना (?:चित्र|पाठ|छवि)|परीक्षण|जल्द आ रहा है|छवि|चित्र|फोटो)",
}

STOCK_WORDS = tuple(rf"(?i)^[\s\[({{{{<*\"'“_-]*(?:{words})[\s.!…:\])}}}}>*\"'”_-]*$" for words in (*NOTHING, *OTHERS.values()))

RULES = [
    Rule(
        name="placeholder.camera_name",
        columns=("caption",),
        drops=matches(*CAMERA_NAMES),
        catches="names that cameras, phones and screens give",
        origin=ORIGIN,
        kept={"caption": "Photo of Apollo 11"},
        dropped={"caption": "IMG_1234"},
    ),
    Rule(
        name="placeholder.stock_words",
        columns=("caption",),
        drops=matches(*STOCK_WORDS),
        catches="untitled, no image available, alt text here, 图片描述 …",
        origin=ORIGIN,
        kept={"caption": "Untitled, oil on canvas, Mark Rothko"},
        dropped={"caption": "Alt text here"},
    ),
    Rule(
        name="placeholder.lorem_ipsum",
        columns=("caption",),
        drops=matches(
            r"(?i)lorem ipsum (?:dolor|text|is simply)|^\W*lorem ipsum\W*$|dolor sit amet|consectetur adipi|sed do eiusmod|ut enim ad minim|quis nostrud|nulla facilisi|vestibulum ante|pellentesque habitant|the quick brown fox jumps over the lazy dog"
        ),
        catches="printers' Latin, and the fox of typists",
        origin=ORIGIN,
        kept={"caption": "Amet, a small Latin dictionary; a lecture on the history of lorem ipsum"},
        dropped={"caption": "Lorem ipsum dolor sit amet"},
    ),
    Rule(
        name="placeholder.template",
        columns=("caption",),
        drops=matches(
            r"\{\{.*?\}\}",
            r"[$#]\{[^}]*\}",
            r"\{%.*?%\}",
            r"<[%?].*?[%?]>",
            r"%%\w+%%|%\(\w+\)s|__[A-Z_]{3,}__",
            r"\[\[[\w .:-]+\]\]",
            r"\{\$?[a-z]+(?:[_.][a-z]+)+\}|\{(?:name|title|alt|caption|image|product|description|price|date|city|user|brand|category|model|year|id|text|sitename|keyword|\d)\}",
            r"(?i)\[(?:first|last|your|product|company|insert|image|customer|user|post|site|brand|event|city|model)[ _-]?(?:name|title|here|image|description|caption|text|logo|date|address)?\]",
            r"(?i)^\s*[\[{<](?:caption|title|alt|image|product|insert|your|photo|picture|description|placeholder|text|标题|图片|描述)[\w ]*[\]}>]\s*$",
            r"%[A-Z_]{3,}%|@@\w+@@|\{\d\}|\[\w+_\w+\]|\{\pL{3,}\}.*\{\pL{3,}\}",
        ),
        catches="template braces left unfilled",
        origin=ORIGIN,
        kept={"caption": "Sets: {1, 2, 3} and their subsets"},
        dropped={"caption": "{{ product.title }}"},
    ),
]
