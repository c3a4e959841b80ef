"""Boilerplate that is nobody's caption: credits alone, links to pages and profiles, buttons, and the text of slides and tables.

A credit behind a caption was cut before any rule sees it; these are what is left where there was nothing else.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.readability import digits
from filters.rules import Rule, Thresholds, matches
from filters.text.patterns import match_within

ORIGIN = "InternVL §3.2 names boilerplate; the patterns are ours"

PICTURE = r"(?:photo(?:graph|graphy|s)?|images?|pictures?|pics?|illustration|video|fotos?|fotografía|fotografia|photographie|bild(?:er)?|imagen|imagem|immagine|zdjęcie|фото|фотография|изображение)"
AGENCY = r"(?:efe|afp|apa|dpa|epa|ansa|upi|reuters|getty(?: ?images)?|istock(?:photo)?|shutterstock|alamy|dreamstime|adobe ?stock|fotolia|depositphotos|123rf|pixabay|unsplash|pexels|flickr|wikimedia(?: commons)?|wikipedia|facebook|instagram|twitter|youtube|imago(?: images)?|picture[- ]alliance|keystone|ap photo|afp photo|tass|тасс|риа новости|xinhua|yonhap|belga|ritzau|scanpix|ntb|lehtikuva|pap|mti|archivo?|archive|archiv|privat|private|handout|pressefoto|courtesy|internet|интернет|divulgaç[ãa]o|reproduç[ãa]o|redacci[óo]n|agencias|agenturen|social media)"
NAME = r"\p{Lu}[\pL.'’-]*"
NETWORK = r"(?:facebook|instagram|twitter|youtube|pinterest|linkedin|tik ?tok|tumblr|vimeo|whatsapp|telegram|snapchat|flickr|google ?\+|google plus|reddit|vk|вконтакте|одноклассники|xing|twitch|spotify|soundcloud|itunes|apple podcasts)"
PROFILES = (
    r"facebook|instagram|twitter|linkedin|tik ?tok|whatsapp|telegram|snapchat|google ?\+|вконтакте|одноклассники|xing|twitch"
)

CREDITS = (
    rf"(?i)^\W*(?:{PICTURE}s?\W{{0,3}})?(?:by|von|par|di|por|af|av|door|credit|credits|courtesy(?: of)?|source|quelle|fuente|fonte|bron|cortesía(?: de)?|crédits?|bildnachweis|copyright|via|foto|photo|©|/|:|\||=|-|–|\s)*\W*{AGENCY}(?:\W+{AGENCY})*\W*$",
    rf"^\W*(?i:(?:photo|photograph|image|picture|illustration|video)s? (?:by|credits?|courtesy(?: of)?)|(?:foto|fotos|bild|photo|image) (?:von|par|di|por|af|av|door))\W{{1,3}}{NAME}(?:\W{{1,3}}(?:(?:de|von|van|der|del|la|le|bin|al|&|and)\s)?{NAME}){{0,4}}\W*$",
    r"^\W*(?i:(?:photo|image|picture|foto|bild)\s)?(?i:credits?|courtesy(?: of)?|source|quelle|bildquelle|bildnachweis|fotonachweis|fuente|fonte|bron|crédits?(?: photos?)?|источник(?: фото)?|автор фото)\s*[:：©/]\s*(?:\S+\s+){0,5}\S+\W*$",
    rf"^\W*(?i:{PICTURE})s?\s*[:：]\s*{NAME}(?:\s{NAME}){{0,3}}\s*/\s*[\pL .&'’/-]{{2,40}}$",
    r"(?i)^\W*(?:copyright\s*(?:©|\(c\)|:|by\s|of\s|\d{4})|©|\(c\)|℗)[\s©:]*(?:by\s+)?(?:\d{4}[\s,–-]*)*(?:[\pL.'’&]+(?:[\s/,]+|-)){0,5}[\pL.'’&]*\s*(?:\d{4})?\W*$",
    r"^\W*[(（]?(?:本文)?(?:图片来源|图源|图片?出处|来源|摄影|供图)\s*[:：/|]\s*\S{1,24}$|^\S{2,8}(?:供图|摄影|摄)$|^\W*(?:出典|写真提供|画像提供|撮影|画像引用元|引用元)\s*[:：/=]\s*\S.{0,30}$|^\W*(?:출처|사진\s*(?:제공|출처)|사진\s*=)\s*[:=/]?\s*\S.{0,30}$|^\W*(?:تصوير|المصدر|مصدر الصورة)\s*[:：]\s*.{2,40}$|^\W*(?:स्रोत|साभार|फोटो साभार)\s*[:：-]\s*.{2,40}$",
)

LINKS = (
    rf"^\W*(?:(?i:the|der|die|das|le|la|les|el|los|il|o|a|os|as)\s+)?(?:{NAME}\s+){{1,3}}(?i:on|auf|sur|en|no|na|su|op|på|i|в|w|bei)\s+(?i:{PROFILES})\W*$",
    rf"(?i)^\W*(?:follow|find|like|join|visit|share|watch|subscribe|teilen|folge|folgen|besuchen|partager|suivez?|compartir|sigue|seguir|síguenos|compartilhar|condividi|seguici|поделиться|подписаться)\b.{{0,40}}\b{NETWORK}\W*$",
    rf"(?i)^\W*(?:official\s+)?{NETWORK}\s+(?:logo|icon|page|profile|link|button|account|share|seite|profil|symbol|icono|página|perfil|pagina)s?\W*$",
    r"(?i)^\W*(?:go to|visit|back to|return to|link to|link|zur|zurück zur|weiter zur|retour à|aller à|voir|ir a|volver a|ir para|voltar para|vai alla|torna alla)\b.{0,60}\b(?:page|home ?page|website|web ?site|profile|seite|startseite|homepage|page d['’]accueil|página|perfil|site|sito|pagina|profil)\W*$|(?i)^\W*(?:перейти на|на главную|перейти к).{0,40}$",
    r"(?i)^\W*(?:view|see|show|open|download|print|save|zoom|enlarge|expand|play|share|email|edit|delete|report|reply|buy|rent|book|order|reserve|preview|compare)\s+(?:(?:the|this|full|larger?|original|hi-?res|high[- ]res(?:olution)?|more|all|our|your|in|a|an|as|new)\s+){0,3}(?:image|photo|picture|video|pdf|size|gallery|album|slideshow|page|post|article|item|product|profile|details?|info(?:rmation)?|map|comments?|reviews?|window|tab|screen|fullscreen|catalogue?|brochure|ticket|tickets|now)s?\W*$",
    r"(?i)^\W*(?:bild|foto|galerie|video|karte|alle bilder|mehr bilder)\s+(?:vergrößern|öffnen|anzeigen|ansehen|herunterladen|teilen)\W*$|^\W*(?:agrandir|afficher|télécharger|ouvrir|voir)\s+(?:l['’]|la |le |les |toutes les )?(?:image|photo|photos|vidéo|galerie|carte|diaporama)\W*$|^\W*(?:ver|ampliar|abrir|descargar|baixar|ampliar)\s+(?:la |el |a |o |todas las |mais |más )?(?:imagen|foto|fotos|galería|vídeo|video|mapa|imagem|galeria)\W*$|^\W*(?:vedi|apri|ingrandisci|scarica)\s+(?:l['’]|la |il |tutte le )?(?:immagine|foto|galleria|video|mappa)\W*$|^\W*(?:увеличить|открыть|смотреть|скачать|показать)\s+(?:все )?(?:фото|фотографи[юи]|изображени[ея]|картинку|видео|галерею)\W*$",
)

# Words of bars, forms and tabs: a caption that is two or more of them, and nothing else, is no caption.
BAR = r"(?:share|tweet|pin(?: it!?)?|e-?mail|print|save(?: image)?|rate|rss|like|follow|comments?(?: off)?|reviews?|facebook|twitter|linkedin|instagram|youtube|pinterest|whatsapp|telegram|tumblr|reddit|google ?\+|loading|visit site|recipe|zoom(?: in)?|share this|read more|view more|compare|view details|add to lightbox|download comp|continue reading|advertisement|teilen|drucken|partager|imprimer|envoyer|imprimir|enviar(?: a un amigo)?|compartir(?: en facebook)?|compartilhar|stampa|condividi|invia|распечатать|поделиться|вконтакте|одноклассники|отправить|share link|copy link|ツイート|シェア|はてなブックマークに追加|lineで送る|공유|트위터|페이스북|分享|收藏|打印|点赞|(?:first |last |full )?name|surname|your name|phone|subject|message|send|submit|vorname|nachname|betreff|nachricht|absenden|nom|prénom|sujet|objet|nombre|apellidos?|tel[ée]fono|asunto|mensaje|nome|cognome|messaggio|sobrenome|telefone|assunto|mensagem|имя|фамилия|телефон|сообщение|тема|product description|description|shipping|q ?& ?a|size chart|details|specifications?|ingredients|directions|warnings|nutrition|abstract|full text|references|pdf(?: \(\d+ ?k\))?|ppt slide|download|supplementary|sign in|register|menu|search|前の記事|次の記事|一覧へ戻る|目次|トップ|上一[张篇页]|下一[张篇页]|返回列表|返回首页|返回顶部|目录|목록|이전글|다음글|글쓰기|回上一頁|點我看更多|top|next|prev(?:ious)?|back|home)"
BARS = rf"(?i)^[\s\pP\pS\d]*{BAR}(?:[\s\pP\pS\d]+{BAR})+[\s\pP\pS\d]*$"
PAGES = (
    r"(?i)^\W*(?:page|seite|página|pagina|pág\.?|страница|strona|sida|sayfa|trang|halaman|results?|resultados?|photo|foto|bild|image|imagen|imagem|immagine|фото|изображение|obraz|zdjęcie|afbeelding|slide|hotel photo|gallery image|picture)\s*\d+\s*(?:of|von|de|di|sur|из|z|av|van|/|-)\s*\d[\d.,]*(?:\s*(?:of|von|de|di)\s*\d[\d.,]*)?(?:\W+(?:next|prev\w*|last|first|weiter|zurück|suivant\w*|précédent\w*|siguiente|anterior|última|próxima|succ\.?|avanti|prec\.?|следующая|предыдущая|download|pdf|\d+))*\W*$",
    r"(?i)^\W*(?:pages?|seiten|páginas?|pagine|страницы)?\W*(?:prev\w*|next|siguiente|próxima|weiter|suivante?|avanti|далее)?\W*1 2 3(?: 4)?(?: 5)?\b[\d\s.…<>‹›«»]*(?:next|last|última|letzte|dernière|siguiente|próxima|»|›)?\W*$|^\W*prev \d+ of \d+ next\b",
    r"^\W*\d+\s*/\s*\d+\s*(?:ページ|页|頁|枚|张|쪽).{0,20}$|^\W*全\d+枚中",
    r"(?i)^\W*powered by\b.{0,40}$",
    r"(?i)^\W*(?:posted|filed) (?:in|under)\b.{0,30}$",
    r"(?i)^\W*by admin\b.{0,60}$",
    r"(?i)\buncategorized\b.{0,30}$",
    r"(?i)^\W*(?:next|previous|older|newer) posts?\b.{0,30}$",
    r"(?i)^\W*thumbnail for version as of\b",
    r"(?i)^\W*file:.{0,80}wikipedia\W*$",
    r"(?i)^\W*(?:user )?avatar (?:of|for)\b.{0,30}$",
    r"(?i)^\W*profile (?:picture|photo|image)s?(?: (?:of|for)\b.{0,30})?$",
    r"(?i)^\W*(?:photo de profil|profilbild|foto de perfil|immagine (?:del )?profilo|фото профиля)\b.{0,30}$",
    r"(?i)^\W*attachment \d+\W*$",
    r"(?i)^\W*(?:\d+ (?:reply|replies|retweets?|likes?|views?|comments?|shares?)\W*){2,}$",
    r"(?i)^\W*read the rest of\b.{0,40}$",
    r"(?i)^\W*view (?:more|all) (?:like this|pictures|photos|images)\b.{0,40}$",
    r"(?i)^\W*sold out\W+notify me\b.{0,30}$",
    r"(?i)^\W*(?:advertisement|anzeige|publicité|publicidad)\W+(?:continue|story|skip|lesen|lire)\b.{0,40}$",
    r"(?i)^\W*rated [\d.]+ out of \d\b.{0,60}$",
    r"(?i)^\W*pin by on\b",
    r"(?i)^\W*re:\s.{0,60}$",
    r"(?i)^\W*listing (?:provided )?courtesy\b",
)

SLIDES = matches(
    r"(?:[–▪►◦§●■➢✓❖¾]\s?\pL.*){3,}|(?:•\s?\S.*){4,}",
    r" -[A-Za-z].* -[A-Za-z].* -[A-Za-z]",
    r"\d (?:st|nd|rd|th) (?:\pL|\d)|^\S+ \S+ .*\b(?:Fig|Tab) \d+\. \p{Lu}",
    r"(?i)\b(?:slide|folie|diapositiva) \d+\s*(?:of|/|:|–|-)|^\s*\d{1,3}\s+(?:slide|chapter|lecture|module|section|unit)\s+\d+\b|\b(?:lecture|slide) \d+ (?:slide|lecture)\b|\b(?:power ?point|ppt) presentation\W*$|^\s*(?:chapter|lecture|module|unit) \d+\s*[:.-]?\s.{60,}(?:=|→|•|\?\s)",
    r"\S\*\S.*\S\*\S.*\S\*\S.*\S\*\S.*\S\*\S",
    r"\bn ?\(%\)|\b[Mm]ean ?(?:±|\(SD\))|\bp[ -]value\b|\bp ?[<=] ?0\.\d|\bTotal Fat\b.*\d ?g\b|(?i:\bsize chart\b.*\d+\W+\d+|größentabelle)",
)
# Many numbers in a row, or four years.
ROW = r"(?:(?:^|\s)[-–]?\d+(?:[.,]\d+)?%?){8,}(?:\s|$)|(?:\b(?:19|20)\d\d\b[ ,]+){3,}(?:19|20)\d\d\b"
ROW_DIGITS = 0.15  # of the characters


def _slide(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    rows = match_within(table["caption"], [ROW], digits(table).to_numpy() > ROW_DIGITS)
    return pc.or_(SLIDES(table, thresholds), pa.array(rows))


RULES = [
    Rule(
        name="boilerplate.credit",
        columns=("caption",),
        drops=matches(*CREDITS),
        catches="nothing but a credit: who took, owns or sent the picture",
        origin=ORIGIN,
        kept={"caption": "Photo of a lighthouse by the sea, by Anna Weber"},
        dropped={"caption": "Photo by Anna Weber / Reuters"},
    ),
    Rule(
        name="boilerplate.link",
        columns=("caption",),
        drops=matches(*LINKS, BARS, *PAGES),
        catches="links to pages and profiles, buttons and bars of a page, its numbers, the fields of a form",
        origin=ORIGIN,
        kept={"caption": "A girl watches a video on YouTube in bed"},
        dropped={"caption": "Der Verein auf Instagram"},
    ),
    Rule(
        name="boilerplate.slide",
        columns=("caption",),
        drops=_slide,
        catches="the text of a slide, a table or a form, run together",
        origin=ORIGIN,
        kept={"caption": "A slide - a swing - a sandpit: the new playground"},
        dropped={"caption": "Support in high demand subjects –Students in math –Students in science –Full-time only"},
    ),
]
