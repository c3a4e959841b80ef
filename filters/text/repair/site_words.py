"""What stock-photo sites, agencies and galleries write around a caption, in the languages of the web: alternatives of patterns."""

from __future__ import annotations

KIND = r"photo(?:graph(?:s|y)?|s)?|images?|vectors?|illustrations?|pictures?|footage|videos?|clip ?art|graphics?|art|foto|clips?"
STOCK = "|".join(
    (
        rf"(?:premium |editorial |free |public domain |download |high[- ]res(?:olution)? |rf )*(?:royalty[- ]?free )?(?:editorial )?"
        rf"stock[- ](?:(?:vector|video|photo) )?(?:{KIND})(?:(?:,? (?:and|&)|,) (?:[\w-]+ )?(?:{KIND}))*",
        rf"(?:free )?royalty[- ]?free (?:(?:stock|vector|cgi|clip ?art|3d|line art|cartoon|rf) )*(?:{KIND})",
    )
)
STOCK_ELSEWHERE = "|".join(
    (
        r"(?:lizenzfreie[rsn]? )?stock-?(?:fotos?|fotografien?|bild(?:er)?|vektor(?:grafik(?:en)?)?|illustration(?:en)?)",
        r"lizenzfreie[rsn]? (?:stock-?)?(?:fotos?|fotografien?|bild(?:er)?|vektor(?:grafik(?:en)?|en)?|illustration(?:en)?)",
        r"(?:photos?|photographies?|images?|vecteurs?|illustrations?|vidéos?) (?:de stock|stock|libres? de droits?|d['’]archives?)"
        r"(?: libres? de droits?)?",
        r"(?:fotos?|fotografías?|imagen(?:es)?|imágenes|vector(?:es)?|ilustraci(?:ón|ones)|v[ií]deos?) (?:de (?:stock|archivo)"
        r"|libres? de (?:derechos|regalías))(?: libres? de (?:derechos|regalías))?",
        r"(?:fotos?|fotografias?|imagens?|imagem|vetor(?:es)?|ilustraç(?:ão|ões)|vídeos?) (?:de (?:stock|arquivo|banco de imagens)|stock"
        r"|livres? de direitos)(?: royalty[- ]free)?",
        r"(?:foto(?:grafie)?|immagin[ei]|vettorial[ei]|illustrazion[ei]) (?:stock|d['’]archivio|di stock|royalty[- ]free)(?: royalty[- ]free)?",
        r"(?:rechtenvrije )?stock(?:foto['’]?s?|fotografie|afbeelding(?:en)?|illustraties?|vectoren)|rechtenvrije (?:foto['’]s|afbeeldingen)",
        r"(?:zdjęci[ae]|obraz(?:y|ek)?|ilustracj[ae]|wektor(?:y)?) (?:stockow[aey]|stock|royalty[- ]free)|stockfotografi(?:er)?|stockbilder?",
        r"stock (?:fotó|kép|fotografie)|(?:fotografie|imagine|ilustrație)(?:, imagine)? de stoc|φωτογραφία αρχείου|banque d['’]images",
        r"stok (?:fotoğraf\w*|görsel\w*|illüstrasyon\w*|vektör\w*|video\w*)|(?:foto|gambar|vektor) stok|ảnh (?:có sẵn|stock)",
        r"(?:лицензионн\w+ |бесплатн\w+ )?стоков\w+ (?:фото(?:графи[яи])?|изображени[ея]|иллюстраци[яи]|вектор\w*|видео)|фото со стока",
        "(?:免版税|正版|版权|库存|图库)+(?:照片|图片|图像|摄影|矢量图[片形]?|插图|插画|影像|视频影像|视频)+|高清(?:图片|摄影)素材|(?:图片|摄影|设计)素材|图库",
        "の?(?:ストック|ロイヤリティ?フリー)の?(?:ストック)?(?:写真|フォト|画像|イラスト|ベクター?|動画|映像)(?:素材)?|の?(?:(?:写真|画像|イラスト|動画|フリー|ベクター?)素材[・、]?)+",
        r"(?:로열티 프리 |무료 )*스톡\s?(?:사진|이미지|일러스트|벡터|영상|비디오)|(?:صور|صورة) (?:من )?(?:ال)?مخزون|स्टॉक (?:फोटो|फ़ोटो|छवि|इमेज)",
    )
)
SITES = (
    r"shutterstock|getty ?images|istock(?:photo)?|alamy(?: stock photo)?|dreamstime|123rf|deposit ?photos|fotolia|adobe ?stock"
    r"|big ?stock(?: ?photo)?|can ?stock ?photo|colourbox|corbis(?: images)?|pond5|envato|photodune|graphicriver|vecteezy|vectorstock"
    r"|freepik|pixabay|unsplash|pexels|flickr|500px|wikimedia(?: commons)?|wikipedia|picfair|stocksy|pixta|clipart of|masterfile|age fotostock"
    "|ピクスタ|アマナイメージズ|写真ac|视觉中国|摄图网|千图网|包图网|昵图网|图虫(?:创意)?|全景网|站酷海洛|фотобанк лори"
)
# In capitals as the agencies write themselves: "AP" is no part of a word.
AGENCIES = (
    r"\b(?:AP|AFP|EPA(?:-EFE)?|EFE|DPA|dpa|ANSA|TASS|Reuters|REUTERS|Getty(?: Images)?|GETTY(?: IMAGES)?|WireImage|FilmMagic|Sportsfile"
    r"|Bloomberg|UPI|PA(?: Wire)?|Press Association|Associated Press|AP Photo|USA TODAY(?: Sports)?|USATSI|US PRESSWIRE|Xinhua|AAP|NurPhoto"
    r"|Anadolu(?: Agency)?|IANS|PTI|ANI|ZUMA(?: Press)?|Rex(?: Features| Shutterstock)?|REX|Splash News|Backgrid|imago|picture[- ]alliance"
    r"|Keystone|Belga|ANP|Lusa|PAP|NTB|TT|Ritzau|Scanpix|Yonhap|Kyodo|Shutterstock|Alamy|iStock|Wikimedia Commons|Wikipedia|Flickr|Instagram"
    r"|Twitter|Facebook)\b|(?:ТАСС|РИА Новости|新华社|中新社|视觉中国|东方IC|共同|時事|ロイター|연합뉴스|뉴시스|뉴스1|رويترز|أ ف ب|पीटीआई)"
)
# What stands before a colon and a name.
CREDIT_LABELS = (
    r"(?:(?:main|cover|file|staff|stock|press|archive|courtesy|top|lead|all) )?(?:photo(?:graph(?:er|s)?|s)?|pictures?|images?|pics?)"
    r"(?: (?:credits?|sources?|courtesy(?: of)?|copyright|via))?|(?:mandatory |photo )?credits?(?: line)?|sources?|courtesy|handout|copyright"
    "|(?:symbol|archiv)?(?:foto|bild)s?|bildquelle|bildnachweis|bildrechte|bildcredit|fotograf(?:in)?|fotos|quelle|grafik"
    r"|crédits?(?: photos?)?|©|photographe|fotografía|crédito|créditos|fuente|imagen|cortesía|fonte|imagem|divulgação|reprodução|credito|immagine"
    r"|bron|beeld|fotograaf|fot\.?|zdjęcie|źródło|autor|fotoğraf|kaynak|görsel|kuva|foto|kilde|källa"
    "|фото|автор фото|источник|фотограф|снимок|иллюстрация|джерело"
    "|图片来源|图片|图源|图|来源|摄影|摄影师|供图|资料图|圖片來源|圖|來源|撮影|写真|写真提供|画像|画像提供|出典|提供|出所|사진|사진\\s?제공|출처|제공|자료"
    "|الصورة|صورة|تصوير|المصدر|مصدر الصورة|عکس|منبع|צילום|קרדיט|φωτ(?:ό|ογραφία)|πηγή|ภาพ|ที่มา|เครดิต(?:ภาพ)?|ảnh|nguồn|sumber|fotó|sursa|zdroj|फोटो|फ़ोटो|फोटो साभार|तस्वीर|साभार|स्रोत"
)
CREDIT_BY = (
    r"(?:(?:all|file|staff|main|cover) )?(?:photo(?:graph)?s?|photos|image|picture|pic)s? (?:by|credit|courtesy(?: of)?|via|taken by|copyright|©)"
    r"|(?:provided )?courtesy (?:of|photo)|ap photo|foto von|bild von|photo par|crédit photo|foto door|fot\. |фото автора"
)
RIGHTS = (
    r"all rights? (?:are )?reserved|some rights reserved|alle rechte (?:vorbehalten|voorbehouden)|tous droits réservés|todos los derechos reservados"
    r"|todos os direitos reservados|tutti i diritti riservati|все права защищены|усі права захищено|wszelkie prawa zastrzeżone"
    r"|tüm hakları saklıdır|med ensamrätt|版权所有|版權所有|保留所有权利|侵权必究|(?:严禁|禁止|请勿|谢绝)转载|转载请注明[^。]*|未经(?:许可|授权|允许)[^。]*"
    r"|無断(?:転載|複製|使用)[^。]{0,14}|禁無断転載|무단\s*전재[^.]*|저작권자|جميع الحقوق محفوظة|सर्वाधिकार सुरक्षित"
    r"|(?:no|not for) (?:use|sale|reproduction|resale)\b[^.]*|(?:for )?editorial use only|do not (?:copy|reproduce|use without)\b"
    r"|(?:reproduction|use) (?:is )?(?:prohibited|interdite|verboten)|prohibida (?:su|la) reproducción|vietata la riproduzione"
    r"|unauthori[sz]ed (?:use|reproduction|copying)\b|(?:all )?photo usage must\b|to (?:license|purchase|buy|order) this (?:photo|image|picture|print)\b"
    r"|(?:nur )?zur redaktionellen (?:nutzung|verwendung)|nur mit genehmigung|licensed under\b|creative commons\b"
)
CLICK = "|".join(
    (
        r"(?:please )?(?:click|tap|hover|roll ?over|press|swipe) (?:here|this|on|to|for|image|photo|picture|thumbnail|the|inside|through)\b",
        r"(?:view|see|show|open|enlarge|zoom)(?: (?:in|a|the|this))* (?:larger?|bigger|full[- ]?size(?:d)?|high[- ]res(?:olution)?|original|image|photo|picture)\b",
        r"(?:zum vergrößern|bild vergrößern|für (?:eine )?(?:großansicht|größere ansicht)|klicken sie|hier klicken|vergrößerte ansicht|anklicken zum)",
        r"(?:cliquez|cliquer) (?:ici|sur|pour)|agrandir l['’]image|voir (?:l['’]image )?en (?:grand|plus grand)",
        r"(?:haga|haz|hacer|pulse|pulsa|pincha|pinche|clic|click|clique|cliquer|clicar) (?:clic |click )?(?:aquí|aqui|en|sobre|na|para|no)\b|ampliar (?:imagen|imagem|foto)"
        r"|ver (?:imagen|imagem|foto) (?:más grande|ampliada|maior)",
        r"clicca(?:re)? (?:qui|per|sull['’a])|ingrandisci(?: (?:immagine|foto))?|klik (?:hier|op|om|voor)\b|vergroot (?:afbeelding|foto)|klikk? (?:for|på|her)\b|förstora bilden",
        r"kliknij(?:,)? (?:aby|by|żeby|tutaj|na)\b|powiększ(?: zdjęcie)?|(?:büyütmek|büyük hali) için (?:tıkla|resme)\w*|resmi büyüt|kliknutím zvětšíte",
        r"(?:нажмите|кликните|щелкните|щёлкните)\b|увеличить(?: (?:фото|изображение|картинку))?|натисніть",
        "(?:点击|點擊|单击|轻触)(?:这里|此处|图片|圖片|查看|查看大图|放大|看大图|进入|下载|缩略图)|查看(?:大图|原图|高清)|(?:看|显示)大图",
        "(?:画像を|写真を)?(?:クリック|タップ)(?:すると|で|して)?(?:拡大|大きく)|(?:画像を)?拡大(?:表示|する|画像)|クリックで",
        r"(?:이미지를?|사진을?)?\s*클릭(?:하면|하시면|하세요|해)|(?:크게|확대)\s*보기|انقر|اضغط (?:هنا|على|لل)|(?:बड़ा|बड़ी) (?:करने|देखने) के लिए|क्लिक करें",
    )
)
CLICK_FIRST = (
    r"(?i)^\W*(?:(?:click|tap)(?: here| (?:on )?(?:the |this )?(?:image|photo|picture|thumbnail))? (?:to|for) (?:(?:view|see|enlarge|zoom|open|get|download) )?"
    r"(?:an? |the )?(?:(?:larger?|bigger|full[- ]?(?:size(?:d)?)?|high[- ]res(?:olution)?|enlarged?|detailed|more)[ ,]*)*"
    r"(?:image|photo|picture|view|version|size)?(?: of(?: the| an?)?\b|\s*[:：|–—-])"
    r"|(?:view|see|enlarge|show)(?: an?| the)?(?: (?:larger?|bigger|full[- ]size(?:d)?|more detailed)[ ,]*)+ *(?:image|photo|picture|view|version)?(?: of(?: the| an?)?\b|\s*[:：|–—-])"
    r"|load image into gallery viewer,|open (?:image|media \d+) in (?:modal|gallery)[ :,-]+|(?:zum )?vergrößern\s*[:：]|agrandir\s*[:：]|ampliar\s*[:：]|ingrandisci\s*[:：]"
    r"|увеличить\s*[:：]|(?:点击|點擊)(?:查看|放大)(?:高清)?(?:大图|原图|图片)?\s*[:：]|画像を拡大\s*[:：])\s*"
)
MORE = (
    r"read more|continue reading|(?:click for )?more info(?:rmation)?|weiterlesen|mehr lesen|lire la suite|en savoir plus|leer más|seguir leyendo|leia mais"
    r"|saiba mais|leggi tutto|leggi di più|lees meer|läs mer|czytaj (?:dalej|więcej)|devamını oku|читать (?:далее|дальше|полностью)|阅读(?:全文|更多)"
    r"|查看(?:全文|更多)|続きを(?:読む|見る)|もっと(?:読む|見る)|더\s?보기|اقرأ المزيد|और पढ़ें"
)
FILE_LABELS = "file|image|img|datei|fichier|archivo|ficheiro|arquivo|bestand|plik|файл|文件|ファイル|파일"

# What is quick to search for: a caption in which one of the above occurs contains one of these.
STOCK_HINTS_ELSEWHERE = (
    "stock-?[fbviao]|stock (?:fot|kép)|de stoc|αρχείου|banque d['’]|(?:foto|fotos|photos?|images?|immagini|immagine|vetor|vetores|ilustração|ilustracja|obraz|zdjęcie) stock|(?:de|di) stock|lizenzfrei"
    "|libres? de |livres? de |archivi?o|d['’]archiv|arquivo|banco de|rechtenvrij|royalty[- ]free$|stok |стоков|со стока|素材|图库|版权|正版|免版税|库存|ストック|ロイヤ"
    "|스톡|مخزون|स्टॉक|ảnh "
)
SITE_HINTS = (
    r"shutterstock|getty|alamy|dreamstime|123rf|deposit|fotolia|colourbox|corbis|pond5|envato|photodune|graphicriver|vecteezy|freepik|pixabay|unsplash"
    "|pexels|flickr|500px|wiki|picfair|pixta|clipart of|masterfile|ピクスタ|アマナ|写真|视觉中国|图网|图虫|全景|海洛|лори"
)
CREDIT_HINTS = (
    r"photo|foto|fot\.|image ?[:/c]|picture|pics?[: ]|credit|crédit|courtesy|source|©|ⓒ|\(c\)|copyright|handout|quelle|bild|grafik|fuente|fonte|imag[eio]|cortesía"
    r"|divulga|reprodu|bron[: ]|beeld|zdjęci|źródło|autor|kaynak|görsel|kuva|kilde|källa|фото|источник|снимок|иллюстр|джерело|图|圖|來源|来源|摄|撮影|画像|出典"
    r"|提供|出所|사진|출처|제공|자료|صور|تصوير|المصدر|عکس|منبع|צילום|קרדיט|φωτ|πηγή|ภาพ|ที่มา|เครดิต|ảnh|nguồn|sumber|sursa|zdroj|फोटो|फ़ोटो|तस्वीर|साभार|स्रोत|/ ?[a-z]+\)|\.\s?\(|reuters|reserved|rechte|droits|derechos|direitos"
    r"|diritti|права|prawa|hakları|ensamrätt|转载|侵权|版權|保留|未经|無断|무단|저작권|الحقوق|सर्वाधिकार|editorial|unauthori|licens|this (?:photo|image|pic|print)"
    r"|creative commons|redaktionell|genehmigung|prohibi|vietata|(?:no|not for) (?:use|sale|repro|resale)|do not |[(/–-] ?(?:ap|afp|e[pf][ae]|ansa|tass|тасс|pt?i|ani)\b|[社通]"
)
CLICK_HINTS = (
    r"click|clic|(?:tap|hover|roll ?over|press|swipe) |larger?\b|bigger|full[- ]?size|high[- ]res|original|enlarge|zoom|klick|klikk|vergr|großansicht|agrandir"
    "|en grand|ampli|ingrand|pulse|pulsa|pinch|klik|förstora|powięk|büyü|нажм|клик|увелич|щелк|щёлк|натисн|点击|點擊|单击|轻触|大图|原图|高清|クリック"
    "|タップ|拡大|클릭|보기|انقر|اضغط|क्लिक|के लिए|read more|continue reading|more info|weiterlesen|mehr lesen|lire la|savoir plus|leer más|leyendo|leia mais"
    "|saiba|leggi |lees meer|läs mer|czytaj|devamını|читать|阅读|全文|查看|続きを|もっと|더|اقرأ|पढ़ें|load image|open (?:image|media)"
)
