"""Boilerplate: what a page says around its pictures: menus, notices, error pages, shop furniture."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names menus, error messages and duplicate text; the patterns are ours"
MENU_WORD = r"(?:home|about(?: us)?|contact(?: us)?|login|log in|sign (?:in|up)|register|blog|news|shop|cart|products|services|faq|help|search|menu|sitemap|privacy(?: policy)?|terms|gallery|首页|关于我们|联系我们|登录|注册|新闻|产品|服务|startseite|impressum|kontakt|accueil|inicio|contacto)"

RULES = [
    Rule(
        name="boilerplate.menu",
        columns=("caption",),
        drops=matches(rf"(?i)(?:^|[|»›>/·•,\s]){MENU_WORD}\s*[|»›>/·•]\s*(?:[^|»›>/·•]{{1,30}}[|»›>/·•]\s*)*{MENU_WORD}(?:$|[|»›>/·•\s])"),
        catches="navigation: two menu words or more between separators",
        origin=ORIGIN,
        kept={"caption": "Menu board at a café | Lisbon"},
        dropped={"caption": "Home | About us | Products | Contact"},
    ),
    Rule(
        name="boilerplate.error_page",
        columns=("caption",),
        drops=matches(
            r"(?i)(?:^|[:\s-])(?:error )?(?:40[0-9]|50[0-9])[\s:–-]*(?:not found|forbidden|bad request|unauthorized|internal server error|bad gateway|service unavailable|gateway time-?out|error)|^(?:the )?(?:page|file|image|resource)[^.]{0,30}(?:not (?:be )?found|no longer available|does not exist)|access denied|^internal server error|页面不存在|找不到(?:该)?页面|服务器错误"
        ),
        catches="HTTP and server messages",
        origin=ORIGIN,
        kept={"caption": "A lost hiker finds the 404 bus stop"},
        dropped={"caption": "404 Not Found - nginx"},
    ),
    Rule(
        name="boilerplate.notice",
        columns=("caption",),
        drops=matches(
            r"(?i)(?:this (?:site|website)|we) uses? cookies|accept (?:all )?cookies|cookie (?:policy|settings|consent)|all rights reserved|^\s*(?:copyright|©|\(c\))\s*(?:©\s*)?(?:19|20)\d\d|javascript (?:is )?(?:disabled|required|must be enabled)|版权所有|本站使用cookie|diese (?:web)?seite verwendet cookies|ce site utilise des cookies"
        ),
        catches="cookie, copyright and browser notices",
        origin=ORIGIN,
        kept={"caption": "Cookies on a baking tray"},
        dropped={"caption": "This website uses cookies to improve your experience"},
    ),
    Rule(
        name="boilerplate.call_to_action",
        columns=("caption",),
        drops=matches(
            r"(?i)click (?:here|image|on image|photo|picture|to (?:enlarge|view|zoom|expand|see))|(?:tap|hover|roll over) (?:image )?to (?:enlarge|zoom|view)|image may contain|add to (?:cart|basket|bag|wish ?list)|(?:free shipping|buy now|sold out|in stock)[ !.|,-]|subscribe to our newsletter|share (?:this )?on (?:facebook|twitter|pinterest)|点击(?:查看|放大|图片)|加入购物车|klicken sie|cliquez (?:ici|sur)|haga clic"
        ),
        catches="click to enlarge, add to cart, image may contain …",
        origin=ORIGIN,
        kept={"caption": "A beetle on a leaf clicks to escape"},
        dropped={"caption": "Click to enlarge image DSC-22"},
    ),
]
