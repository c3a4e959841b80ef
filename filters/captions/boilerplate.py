"""Boilerplate: text of a page around its pictures: menus, notices, error pages, buttons of shops; and repeated text.

Error messages and menus count only where they are the whole caption: a caption may describe a photograph of an error page.
"""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from filters.captions.placeholder import STOCK_WORDS
from filters.rules import Rule, Thresholds, above, column, matches
from filters.text.characters import codes_of, of_characters, rows_at, runs
from filters.text.patterns import match_any, match_within, prepare
from filters.text.tokens import MARK, repetitions, tokens_of
from filters.text.words import count_words

ORIGIN = "InternVL §3.2 names menus, error messages and duplicate text; the patterns are ours"

MENU_WORDS = {
    "en": r"home(?:page)?|about(?: us| me)?|contact(?: us)?|log ?in|log ?out|sign (?:in|up)|register|blog|news|shop|store|cart|products|services|faqs?|help|search|menu|sitemap|privacy(?: policy)?|terms(?: of (?:use|service))?|gallery|portfolio|events|careers|testimonials|my account|checkout|wishlist|back|next|prev(?:ious)?|categories|archives?|forum|downloads?|support|donate|press|partners|team|pricing|resources",
    "zh": r"首页|关于我们|联系我们|登录|注册|新闻(?:中心|动态|资讯)?|产品(?:中心|展示)?|服务(?:中心|项目)?|公司简介|企业文化|招贤纳士|人才招聘|在线留言|客户案例|网站地图|下载(?:中心)?|会员中心|购物车|我的订单|帮助(?:中心)?|论坛|博客|返回",
    "de": r"startseite|impressum|kontakt|datenschutz|über uns|anmelden|registrieren|warenkorb|produkte|leistungen|aktuelles|agb|suche",
    "fr": r"accueil|contact|à propos|connexion|inscription|panier|produits|actualités|boutique|mentions légales|plan du site|recherche",
    "es": r"inicio|contacto|nosotros|quiénes somos|iniciar sesión|registrarse|carrito|productos|servicios|noticias|tienda|aviso legal",
    "pt": r"início|contato|contacto|sobre nós|quem somos|entrar|cadastre-se|carrinho|produtos|serviços|notícias|loja",
    "it": r"home|contatti|chi siamo|accedi|registrati|carrello|prodotti|servizi|notizie|negozio",
    "ru": r"главная|о нас|о компании|контакты|войти|вход|регистрация|корзина|товары|каталог|услуги|новости|поиск|доставка|оплата|отзывы",
    "ja": r"ホーム|会社概要|お問い合わせ|ログイン|新規登録|カート|商品一覧|サービス|お知らせ|ニュース|採用情報|アクセス|サイトマップ|トップ",
    "ko": r"홈|회사소개|문의하기|문의|로그인|회원가입|장바구니|제품|서비스|공지사항|고객센터|마이페이지",
    "ar": r"الرئيسية|من نحن|اتصل بنا|تسجيل الدخول|المنتجات|الخدمات|الأخبار|المدونة|سلة التسوق",
    "hi": r"होम|मुख्य पृष्ठ|हमारे बारे में|संपर्क करें|संपर्क|लॉग इन|उत्पाद|सेवाएं|समाचार",
}
MENU = rf"(?:{'|'.join(MENU_WORDS.values())})"
SEPARATOR = r"[\s|»›>/·•\\,;:–—-]"

ERRORS = (
    r"(?:page |file |image |url |resource |server )?(?:not found|forbidden|bad request|unauthori[sz]ed|internal server error"
    r"|bad gateway|service (?:temporarily )?unavailable|gateway time-?out|method not allowed|too many requests|moved permanently)"
)
# An error message may be followed by the name of a server or of a site.
SITE = r"(?:\s*[-–|:.!]\s*[^.!?]{0,40})?[\s.!]*$"


LAST_LETTERS = re.compile(r"[\W_]*([^\W_]{1,4})")
BARS = r"[|»›>/·•,]"
TURNERS = (
    r"(?i)^\W*(?:skip to (?:main )?(?:content|navigation)|back to (?:top|home(?:page)?)|you are here)\b.*$",
    r"(?i)^\W*(?:toggle navigation|main menu|site ?map|breadcrumbs?|menu close|open menu|close menu|nach oben|zum inhalt springen"
    r"|retour en haut|volver arriba|наверх|返回顶部|回到顶部|ページトップへ|맨 위로)\W*$",
    r"(?i)^\W*(?:first|prev(?:ious)?|«|‹)\W+(?:\d+\W+)*(?:next|last|»|›)\W*$|^\W*上一[页篇张].*下一[页篇张]\W*$",
    r"(?i)^\W*(?:previous|next) (?:post|page|article|image|photo|slide|entry)\W*$",
)
ONLY_MENU = rf"(?i)^[\s\pP\pS]*(?:{MENU}{SEPARATOR}+)+{MENU}[\s\pP\pS]*$"
AMONG_BARS = rf"(?i)^\s*{MENU}\s*[|»›>].*[|»›>]", rf"(?i)(?:^|{BARS})\s*{MENU}\s*[|»›·•].*[|»›·•]\s*{MENU}\s*(?:$|{BARS})"


MENUS, LISTED = prepare((*TURNERS, *AMONG_BARS)), prepare([ONLY_MENU])


def _menu(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    menu = match_any(captions, MENUS)
    # "Help Support" may be a caption; with a bar between, or with a third word, it is a menu.
    only_menu_words = match_any(captions, LISTED)
    menu |= match_within(captions, [BARS], only_menu_words)
    rows = np.flatnonzero(only_menu_words)
    menu[rows] |= count_words(captions.take(pa.array(rows))).to_numpy() > 2
    return pa.array(menu)


def _repeats(table: pa.Table, thresholds: Thresholds) -> pa.Array:
    captions = table["caption"]
    rows = np.flatnonzero(_begins_again(captions))
    rows = rows[_may_be_repeated(captions.take(pa.array(rows)))]
    repeats = np.zeros(len(table), bool)
    repeats[rows] = [is_repeated(text) for text in captions.take(pa.array(rows)).to_pylist()]
    return pa.array(repeats)


def _may_be_repeated(captions: pa.ChunkedArray) -> np.ndarray:
    """Whether half the words of each caption repeat earlier ones, as in one phrase over and over; or it may be one word: bool[M]."""
    may_be = [np.zeros(0, bool)]
    for batch in runs(captions):
        tokens = tokens_of(*codes_of(batch))
        words = tokens.kind != MARK
        counts = np.bincount(tokens.rows[words], minlength=len(batch))
        # An apostrophe joins what are two words to `is_repeated`.
        joined = pc.match_substring_regex(batch, "['’]").to_numpy(zero_copy_only=False)
        may_be.append((2 * repetitions(tokens, words) >= counts) | (counts <= 1) | joined)
    return np.concatenate(may_be)


@of_characters
def _begins_again(codes: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Whether a caption's first four characters, case aside, occur in it again, as in any that repeats itself: bool[M]."""
    again = np.zeros(len(ends) - 1, bool)
    if len(codes) < 4:
        return again
    folded = np.ascontiguousarray(codes.astype(np.uint8) | 32)
    fours = np.ndarray(len(folded) - 3, "<u4", folded, strides=(1,))  # the four bytes from each character on
    starts = ends[:-1]
    first = fours.take(starts, mode="clip")
    positions = np.flatnonzero(fours == np.repeat(first, np.diff(ends))[: len(fours)])
    rows = rows_at(positions, ends)
    again[rows[positions > starts[rows]]] = True
    return again


def is_repeated(text: str) -> bool:
    """Whether a text is one phrase over and over: of three words or more twice, of two words three times, of one four times.

    A word is a run of letters and digits; a character of a script without spaces is one. "New York, New York" is not repeated.
    """
    ends = LAST_LETTERS.match(text.lower()[::-1])
    if ends is None or text.lower().find(ends[1][::-1]) == text.lower().rfind(ends[1][::-1]):
        return False  # most texts: their last letters occur once
    words = re.findall(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]|[^\W_]+", text.lower())
    unspaced = bool(words) and sum(len(word) == 1 for word in words) > len(words) / 2
    if len(words) == 1 and len(words[0]) >= 9:
        period = _period(words[0])
        return 2 <= period <= len(words[0]) / 3
    period = _period(words)
    if not period:
        return False
    if period == 1 and unspaced:
        return False  # one character over and over is another rule's concern
    whole = len(words) % period == 0
    twice, thrice = period >= (4 if unspaced else 3) and whole, period > 1 and whole and len(words) >= 3 * period
    return twice or thrice or len(words) >= max(5, 4 * period)


def _period(sequence: str | list[str]) -> int:
    """The shortest period with which a sequence repeats itself to its end; 0 where it has none up to half its length."""
    return next((step for step in range(1, len(sequence) // 2 + 1) if sequence[step:] == sequence[:-step]), 0)


RULES = [
    Rule(
        name="boilerplate.menu",
        columns=("caption",),
        drops=_menu,
        catches="navigation: menu words side by side, breadcrumbs, page turners",
        origin=ORIGIN,
        kept={"caption": "Menu board at a café | Lisbon"},
        dropped={"caption": "Home | About us | Products | Contact"},
    ),
    Rule(
        name="boilerplate.error_page",
        columns=("caption",),
        drops=matches(
            rf"^\W*(?:http )?(?:status |error |erreur |fehler |ошибка |错误 ?)*(?:code )?[45]\d\d\W+(?:error\W*)?{ERRORS}{SITE}",
            rf"^\W*(?:http |error |status )+(?:code )?[45]\d\d{SITE}",
            rf"^\W*(?:error|erreur|fehler|errore|erro|ошибка|错误|エラー|오류|خطأ)\W*(?:http\W*)?[45]\d\d\b(?:\s*[-–—|:(]|\W*$|\W+{ERRORS})",
            rf"^\W*{ERRORS}(?: error)?{SITE}",
            r"^\W*(?:oops|sorry|whoops|error)?\W*(?:the |this |that |your )?(?:requested )?(?:page|file|image|resource|url|product|item|video|content|link)\b[^.]{0,40}(?:(?:not|n[o']t) (?:be )?(?:found|available|displayed|loaded)|no longer (?:available|exists?)|does(?: not|n't) exist|has (?:been )?(?:moved|removed|deleted|expired))",
            r"^\W*(?:access (?:is )?denied|permission denied|connection (?:refused|timed out|reset)|request timed out|an? (?:unexpected |unknown )?error (?:has )?occurred|something went wrong|image (?:failed|could not be|cannot be) (?:to )?load|failed to load|unable to (?:load|connect|display)|database error|error establishing a database connection|server error|bandwidth limit exceeded|this account has been suspended|session (?:has )?expired|invalid (?:request|url|token|parameter)|cannot (?:get|find server|connect))",
            r"^\W*(?:die |diese )?(?:seite|datei|bild|zugriff|verbindung|fehler)\b[^.]{0,30}(?:nicht (?:gefunden|verfügbar|geladen|existiert)|verweigert|fehlgeschlagen|aufgetreten)|^\W*interner serverfehler|^\W*es ist ein fehler aufgetreten",
            r"^\W*(?:la |cette )?(?:page|fichier|image|ressource)\b[^.]{0,30}(?:introuvable|n['’]existe pas|n['’]est (?:plus|pas) disponible)|^\W*(?:accès (?:refusé|interdit)|erreur (?:interne|du serveur|de connexion)|une erreur (?:est survenue|s['’]est produite))",
            r"^\W*(?:la |esta |a |essa )?(?:página|imagen|imagem|archivo|arquivo)\b[^.]{0,30}(?:no (?:encontrad[ao]|existe|se encuentra|disponible|se pudo)|não (?:encontrad[ao]|existe|disponível))|^\W*(?:acceso denegado|acesso negado|error (?:interno|del servidor)|erro (?:interno|no servidor)|(?:se ha producido|ocorreu) um? ?(?:error|erro))",
            r"^\W*(?:pagina|immagine|file) non (?:trovat[ao]|disponibile)|^\W*(?:accesso negato|errore (?:interno|del server)|si è verificato un errore)",
            r"^\W*(?:页面|网页|文件|图片|您访问的|您要?查看的|抱歉|对不起|[该此](?:页|网|图片|文件|商品|链接|内容|视频)|系统|服务器|网络(?:连接|请求)?|加载|请求|数据库|无法|访问)[^。]{0,8}(?:不存在|找不到|未找到|已(?:被)?(?:删除|移除|下架|失效|过期)|错误|出错|失败|无法(?:显示|访问|加载|打开|连接)|被拒绝|拒绝访问|超时|连接数据库|繁忙|异常)",
            r"^\W*(?:找不到(?:该)?(?:页面|文件|网页|图片)|404错误|内部服务器错误|拒绝访问|禁止访问)",
            r"^\W*(?:страница|файл|изображение|картинка|сайт|доступ|товар|запрашиваемая страница)[^.]{0,25}(?:не найден[аоы]?|не существует|недоступ[а-я]*|удал[а-я]+|запрещ[а-я]+|отказано)|^\W*(?:внутренняя )?ошибка (?:сервера|доступа|загрузки|подключения|\d)|^\W*(?:доступ (?:запрещ|ограничен)|произошла ошибка|не удалось загрузить)",
            r"^\W*(?:お探しの|申し訳ありません|ご指定の|指定された|この|その|該当する|\d+)*\W*(?:ページ|画像|ファイル|サーバー?)(?:が|は|を|の|に)?(?:見つかりません|存在しません|表示できません|エラー|読み込めません|アクセスできません)|^\W*(?:内部サーバーエラー|アクセスが拒否|エラーが発生)",
            r"^\W*(?:요청하신|찾으시는|해당|이|죄송합니다)?\W*(?:페이지|이미지|파일)[를을가이는은]?\s*(?:현재 )?(?:찾을 수 없|존재하지 않|불러올 수 없|표시할 수 없)(?:습니다|음|어요)?\W*$|^\W*(?:오류가 발생|접근이 거부|서버 오류|내부 서버)",
            r"^\W*(?:الصفحة|الصورة|الملف)[^.]{0,12}(?:غير موجود|غير متاح|غير متوفر)|^\W*(?:تم رفض الوصول|حدث خطأ|خطأ في الخادم|خطأ \d)",
            r"(?:पृष्ठ|पेज|फ़ाइल|छवि)\s*(?:नहीं मिल|उपलब्ध नहीं|मौजूद नहीं)|^\W*(?:पहुंच अस्वीकृत|सर्वर त्रुटि|त्रुटि)",
            ignore_case=True,
            unless=STOCK_WORDS,
        ),
        catches="HTTP and server messages, standing alone",
        origin=ORIGIN,
        kept={"caption": "A laptop on a desk shows a 404 Not Found page"},
        dropped={"caption": "404 Not Found - nginx"},
    ),
    Rule(
        name="boilerplate.notice",
        columns=("caption",),
        drops=matches(
            r"(?:this (?:site|website|page)|we|our (?:site|website|partners))(?: and our partners)? uses? cookies|accept (?:all )?cookies|cookies? (?:policy|settings|consent|notice|preferences)(?:\W*$| and\b| &)|use of cookies|by (?:continuing|using this site)[^.]*you (?:agree|accept|consent)",
            r"all rights? reserved|(?:copyright|©)\s*(?:©\s*)?(?:19|20)\d\d\W+[^.]*(?:inc|ltd|gmbh|llc|corp)\b|\bdo not (?:copy|reproduce|use without)|unauthori[sz]ed (?:use|reproduction)|without (?:prior )?(?:written )?permission",
            r"javascript (?:is )?(?:disabled|required|must be enabled)|(?:please )?enable javascript|your browser does not support|browser is (?:out of date|not supported)|(?:best|only) viewed (?:in|with) (?:internet explorer|ie|chrome|firefox|netscape|\d|a resolution)|upgrade your browser|(?:disable|turn off) your ad ?block|requires? (?:adobe flash|(?:adobe )?flash player)",
            r"^\W*(?:aviso legal|mentions légales|impressum|privacy (?:policy|notice|statement)|terms (?:of (?:use|service|sale)|(?:and|&) conditions)|legal notice|disclaimer|datenschutz|note legali|nota legale)\W*$|terms (?:of (?:use|service)|and conditions) apply|privacy policy and terms|terms of (?:use|service) and privacy|subject to (?:change without notice|our terms)|for (?:illustration|illustrative|reference|informational|editorial use) purposes only|for illustration only|images? (?:is|are|for) (?:for )?(?:illustrative|illustration|reference)|actual (?:product|item|colou?r) may (?:vary|differ)|no part of this (?:site|publication|image)|prior written (?:consent|permission)|affiliate (?:links|commission)|as an amazon associate",
            r"i am not a robot|verify (?:that )?you(?:'re| are) (?:human|not a robot)|^\W*captcha\W*$|\bcaptcha (?:code|image)\W*$|enter (?:the )?captcha|checking your browser|are you (?:over|at least) (?:18|21)|you must be (?:18|21|logged in|a member|registered)|age verification|this content is (?:blocked|not available|age-restricted)",
            r"alle rechte vorbehalten|(?:diese|unsere) (?:web)?(?:seite|site) verwendet cookies|wir verwenden cookies|cookie-?(?:einstellungen|richtlinie|hinweis)|datenschutz(?:erklärung|hinweise)|nur mit genehmigung|zzgl\.? versand|inkl\.? (?:\d+ ?% )?(?:mwst|ust)|(?:bitte )?(?:aktivieren sie )?javascript (?:aktivieren|ist deaktiviert)",
            r"tous droits réservés|(?:ce site|nous) utilis(?:e|ons) des cookies|politique de (?:confidentialité|cookies)|mentions légales|reproduction (?:interdite|même partielle)|photos? non contractuelles?",
            r"todos los derechos reservados|(?:este sitio|esta web|utilizamos) (?:utiliza |usa )?cookies|política de (?:privacidad|cookies)|prohibida (?:su|la) reproducción|todos os direitos reservados|(?:este site|nós) (?:utiliza|usa|usamos) cookies|política de privacidade|tutti i diritti riservati|questo sito utilizza(?: i)? cookie|informativa sulla privacy|vietata la riproduzione",
            r"版权所有|版权声明|著作权归|未经(?:许可|授权|允许|同意|书面)|严禁转载|禁止转载|请勿转载|转载请?注明|侵权(?:必究|请|删除|即删)|[京沪粤浙苏鲁闽川渝津]?ICP[备证]|公网安备|(?:本站|本网站|我们)(?:会)?使用\s*cookie|隐私政策|用户协议|免责声明|违法(?:和)?不良信息|^.{0,8}图片(?:仅供参考|来源于?网络|源自网络)|^.{0,8}仅供(?:参考|学习)|以实物为准|请输入验证码|浏览器(?:版本过低|不支持)",
            r"все права защищены|(?:мы |сайт |наш сайт )?использу(?:ем|ет) (?:файлы )?cookie|политика конфиденциальности|пользовательское соглашение|копирование (?:материалов )?(?:запрещено|без)|включите javascript|не является публичной офертой",
            r"無断(?:転載|複製|使用)|(?:当サイト|このサイト)は?.{0,6}cookie|プライバシーポリシー|利用規約|著作権は|javascriptを有効|이 사이트는 쿠키|쿠키를 사용|무단\s*(?:전재|복제|배포|도용)|개인정보\s*(?:처리|취급)방침|이용약관|저작권|جميع الحقوق محفوظة|ملفات تعريف الارتباط|سياسة الخصوصية|सर्वाधिकार सुरक्षित|कुकीज़? का उपयोग|गोपनीयता नीति",
            ignore_case=True,
        ),
        catches="legal, cookie, copyright and browser notices",
        origin=ORIGIN,
        kept={"caption": "Cookies on a baking tray, as grandmother's recipe has them"},
        dropped={"caption": "This website uses cookies to improve your experience"},
    ),
    Rule(
        name="boilerplate.call_to_action",
        columns=("caption",),
        drops=matches(
            r"click (?:here|this|image|on (?:the |this )?(?:image|photo|picture|thumbnail|link)|(?:the |thumbnail |photo |picture |image )*(?:for|to) (?:a |the )?(?:enlarge|larger|full|view|zoom|expand|see|read|open|bigger|more|download|play))|(?:tap|hover|roll ?over|mouse ?over|press|pinch|swipe|scroll) (?:over )?(?:the )?(?:image |photo |picture |here |left |right )?(?:or right )?(?:to|for) (?:enlarge|zoom|view|see|more|open|continue|magnify)|view (?:full|larger|original)[ -]?(?:size|image|version|resolution)|open (?:image )?in (?:a )?new (?:tab|window)|(?:enlarge|zoom)(?: this)? (?:image|photo|picture)|right[- ]click to save|save image as",
            r"image may contain|^\W*no photo description available|may be an image of|this image (?:has an empty alt|may contain)|its file name is",
            r"add(?:ed)? to (?:your )?(?:cart|basket|bag|trolley|wish ?list|favou?rites|compare)|(?:free|fast|worldwide) (?:uk |us )?(?:shipping|delivery)(?: on| over| worldwide|!|\b.{0,20}$)|(?:^|[!|•·-]\s*)(?:buy|shop|order|book|call|donate|subscribe|register|join|apply|sign up|enquire|download|get (?:it|yours?|started)) (?:it )?(?:now|today|online now)\b|buy (?:it )?now[ !.|,-]|^buy now$|^\W*(?:sold out|out of stock|in stock|on sale|sale|new arrivals?|best ?sellers?|special offer|limited (?:time )?offer|quick view|view (?:product|details|all|more|cart)|see (?:more|all|details)|show more|load more|more info(?:rmation)?|select options|choose (?:an option|options)|learn more|read more|find out more|continue reading|shop all|price drop|add to)\W*$|(?:only )?\d+ (?:left )?in stock|% off (?:all|everything|your|today|with)|\b(?:use|with) (?:coupon|promo|discount)? ?code\b|compare at \$|(?:was|now|rrp|price)[: ]+[$€£]\s?\d[\d.,]*\W+(?:now|was|save|sale)|sign up (?:for|to) (?:our|the)|^\W*free (?:quote|trial|estimate)s?\b.{0,20}$",
            r"subscribe to (?:our|my|the|get)|(?:our|my) newsletter|(?:enter|your) (?:e-?mail|email) (?:address)?\W*(?:here|below|$|to)|follow (?:us|me) on|like us on|share (?:this |it )?(?:on|via|with|to) (?:facebook|twitter|x|pinterest|whatsapp|linkedin|e-?mail|friends)|^\W*share(?: this)?(?: post| article| page)?\W*$|^\W*(?:\d+\W*)?(?:likes?|shares?|tweets?|comments?|views?|replies|retweets?|followers|reviews?)(?:\W*\d+\W*(?:likes?|shares?|tweets?|comments?|views?|replies)?)*\W*$|^\W*(?:facebook|twitter|instagram|pinterest|linkedin|youtube|whatsapp|google\+|tiktok|rss|e-?mail|reddit|tumblr)(?:[\s|,/·•-]+(?:facebook|twitter|instagram|pinterest|linkedin|youtube|whatsapp|google\+|tiktok|rss|e-?mail|reddit|tumblr))+\W*$|leave a (?:comment|reply)|post a comment|reply to this|log ?in to (?:view|see|comment|reply|continue|your)|forgot (?:your )?password|create (?:an )?account|already have an account|^\W*please (?:wait|log ?in|sign in|try again|select|enter|enable)\b[^,]*$",
            r"^\W*(?:pin it|tweet this|remember me)\W*$",
            r"^\W*(?:loading|please wait|buffering|processing|redirecting|searching|submit(?:ting)?|cancel|close|okay|apply|reset|send(?: message)?|play(?: video)?|pause|mute|print(?: page)?|refresh|advertisements?|sponsored(?: content)?|ads? by .{1,20}|promoted|related (?:posts|articles|products|images|videos)|you (?:may|might) also like|recommended(?: for you)?|trending(?: now)?|popular posts|recent (?:posts|comments)|latest news|similar (?:images|photos|products)|customers? (?:also|who) (?:bought|viewed).{0,30}|tags?|(?:tags?|categor(?:y|ies)):.*|filed under|posted (?:in|by) .{1,30}|written by .{1,30}|share this:?)\W*$",
            r"klicken sie|(?:hier|bild) klicken|zum vergrößern|in den warenkorb|jetzt (?:kaufen|bestellen|anmelden|registrieren|buchen|downloaden|informieren)|mehr (?:erfahren|lesen|infos?|anzeigen)\b.{0,20}$|weiterlesen|newsletter (?:anmelden|abonnieren)|folgen sie uns|kostenloser versand|nicht vorrätig|ausverkauft\W*$|^\W*(?:wird geladen|bitte warten|anzeige|werbung|absenden|teilen)\W*$|auf lager|sofort lieferbar",
            r"cliquez (?:ici|sur|pour)|cliquer (?:ici|sur|pour)|ajouter au panier|acheter maintenant|\ben savoir plus\W*$|lire la suite|voir (?:plus|la suite|tous les|le produit)|inscrivez-vous|abonnez-vous|suivez-nous|livraison (?:gratuite|offerte)|rupture de stock|^\W*(?:chargement|veuillez patienter|publicité|partager|envoyer)\W*$|partager sur|agrandir l['’]image",
            r"haga clic|haz clic|clic(?:k)? (?:aquí|para|en la imagen)|clique (?:aqui|para|na imagem)|añadir al carrito|agregar al carrito|adicionar ao carrinho|comprar (?:ahora|agora|ya)\b|compra ahora|compre (?:agora|já)|leer más|leia mais|seguir leyendo|ver (?:más|mais|detalles|detalhes|producto|todo)\W*$|saber mais\W*$|más información\W*$|suscríbe(?:te|ase)|inscreva-se|síguenos|siga-nos|envío gratis|frete grátis|^\W*(?:cargando|carregando|publicidad|publicidade|compartir|enviar|agotado|esgotado)\W*$|clicca (?:qui|per|sull)|aggiungi al carrello|acquista ora|leggi (?:tutto|di più)|scopri di più|iscriviti|spedizione gratuita|^\W*(?:caricamento|pubblicità|condividi)\W*$",
            r"(?:^|[\s|,;])(?:tel(?:efon|[ée]fono|efone)?|phone|fax|mobile|whatsapp|wechat|call us|电话|热线|手机|微信|тел|телефон|전화|電話)[\s.:：]+[+(]?\d[\d\s()./-]{6,}",
            r"点击(?:这里|此处|查看|放大|图片|进入|下载|购买|链接|上方|下方|关注|阅读|缩略)|查看(?:大图|原图|更多|详情|全部)|加入购物车|立即(?:购买|抢购|注册|登录|下载|咨询|预订|报名)|马上(?:抢|购买|注册)|(?:全国|全场|免费)?包邮|限时(?:抢购|特价|优惠|折扣)|货到付款|七天无理由|(?:扫|长按).{0,6}(?:二维码|码)|扫一扫|关注(?:我们|微信|公众号|官方)|(?:客服|咨询|服务|订购)(?:热线|电话|QQ)|加微信|分享到|阅读(?:更多|全文|原文)|^\W*(?:更多|展开|收起|加载中|正在加载|请稍候|广告|推广|相关(?:推荐|文章|阅读)|猜你喜欢|热门(?:推荐|文章)|上一[篇张页]|下一[篇张页]|暂无评论|发表评论|我要评论|售罄|已售完|现货|返回列表|提交|取消|确定|登录后.{0,8})\W*$|图片加载中|在线咨询|免费(?:试听|领取|注册|咨询)|欢迎(?:来电|咨询|选购|光临本)",
            r"нажмите|кликните|(?:добавить )?в корзину|купить (?:сейчас|в один клик|онлайн)|заказать (?:звонок|сейчас|онлайн)|читать (?:далее|дальше|полностью)|узнать больше\W*$|подробнее\W*$|подпи(?:шитесь|сывайтесь|саться)|^\W*поделиться\W*$|бесплатная доставка|нет в наличии|^\W*(?:загрузка|подождите|реклама|отправить|смотреть все|показать ещё|в наличии)\W*$|оставить (?:комментарий|отзыв|заявку)|скачать бесплатно|увеличить (?:изображение|фото)",
            r"クリック(?:して|すると|で)|タップして|拡大表示|カートに(?:入れる|追加)|今すぐ(?:購入|登録|ダウンロード|申し込)|続きを(?:読む|見る)|もっと(?:見る|読む)|詳しくは(?:こちら|コチラ)|詳細は?(?:こちら|を見る)|送料無料|在庫(?:切れ|あり)|フォローして|^\W*シェアする\W*$|^\W*(?:読み込み中|お待ちください|広告|売り切れ|関連記事|ログイン)\W*$|会員登録|클릭(?:하세요|하시면|하면|해|하여)|장바구니(?:에|\s*담기)|바로\s*구매|지금\s*(?:구매|가입|신청|다운)|더\s*(?:보기|읽기|알아보기)|자세히\s*보기|무료\s*배송|품절|구독(?:하기|하세요)|공유하기|로그인이?\s*필요|^\W*(?:로딩\s*중|광고|잠시만 기다려)\W*\S{0,4}$|로드하는 중",
            r"(?:klik|klikk) (?:hier|op|her|her for|disini|di sini)\b|lees (?:meer|verder)\W*$|(?:in|aan) (?:de |je )?winkel(?:wagen|mand)|bestel (?:nu|direct|online)|gratis (?:verzending|frakt|fragt|levering)|kliknij|czytaj (?:więcej|dalej)|dodaj do koszyka|darmowa dostawa|kup teraz|tıklayın|devamını oku|sepete ekle|hemen al|ücretsiz kargo|klicka (?:här|på)|läs mer\W*$|lägg i (?:varukorg|kundvagn)|læs mere\W*$|les mer\W*$|læg i kurv|legg i handlekurv|lue lisää\W*$|lisää ostoskoriin|klikněte|číst (?:dále|více)|do košíku|kattints(?:on)? ide|kosárba|citește mai mult|adaugă în coș|baca selengkapnya|beli sekarang|gratis ongkir|xem thêm\W*$|thêm vào giỏ|mua ngay|miễn phí vận chuyển|คลิก(?:ที่นี่|เพื่อ)|อ่านต่อ|สั่งซื้อเลย|κάντε κλικ|διαβάστε περισσότερα|לחצו כאן|קרא עוד|натисніть|читати далі|до кошика",
            r"انقر|اضغط (?:هنا|على|للتكبير)|أضف إلى (?:السلة|عربة)|اشتر(?:ي)? الآن|تسوق الآن|اقرأ المزيد|^\W*المزيد(?: من)?\W*$|شاهد المزيد|اشترك (?:الآن|في (?:القناة|النشرة|قناتنا))|تابعنا|شحن مجاني|توصيل مجاني|نفذت الكمية|^\W*(?:جاري التحميل|إعلان|مشاركة)\W*$|क्लिक करें|टैप करें|कार्ट में (?:जोड़ें|डालें)|अभी खरीदें|और पढ़ें|और देखें|अधिक जानें|सदस्यता लें|फॉलो करें|शेयर करें|मुफ़?्?त (?:शिपिंग|डिलीवरी)|स्टॉक में नहीं|^\W*(?:लोड हो रहा है|विज्ञापन|कृपया प्रतीक्षा करें)\W*$",
            ignore_case=True,
        ),
        catches="click to enlarge, add to cart, read more, share, image may contain …",
        origin=ORIGIN,
        kept={"caption": "A beetle on a leaf clicks to escape"},
        dropped={"caption": "Click to enlarge image DSC-22"},
    ),
    Rule(
        name="boilerplate.duplicate_text",
        columns=("caption_pictures",),
        drops=above(column("caption_pictures")),
        measure=column("caption_pictures"),
        catches="the same words on too many pictures of the corpus, whatever they are",
        origin="InternVL §3.2 names duplicate text; the count is a choice",
        kept={"caption_pictures": 4},
        dropped={"caption_pictures": 4_000},
        thresholds={"max": 10},
    ),
    Rule(
        name="boilerplate.repetition",
        columns=("caption",),
        drops=_repeats,
        catches="one phrase over and over, and nothing else",
        origin=ORIGIN,
        kept={"caption": "Rose is a rose is a rose is a rose"},
        dropped={"caption": "Red summer dress with belt - Red summer dress with belt"},
    ),
]
