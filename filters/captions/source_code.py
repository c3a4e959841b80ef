"""Source code: markup, scripts, queries and stack traces that got from a page into its alt text."""

from __future__ import annotations

from filters.rules import Rule, matches

ORIGIN = "InternVL §3.2 names source code; the patterns are ours"

TAG = r"div|span|img|a|p|br|hr|b|i|u|em|strong|script|style|table|tbody|thead|t[dhr]|ul|ol|li|h[1-6]|font|center|iframe|input|button|form|label|select|option|svg|path|meta|link|html|head|body|title|section|article|nav|header|footer|video|source|object|embed|param|blockquote|figure|figcaption|noscript|small|sup|sub|code|pre|xml|item|url|name|id"

RULES = [
    Rule(
        name="source_code.markup",
        columns=("caption",),
        drops=matches(
            rf"</?(?:{TAG})(?:\s+[\w:-]+\s*=[^>]*|\s*/?)>",
            rf"</(?:{TAG})\b|<(?:{TAG})\s+[\w:-]+\s*=",
            r"\b(?:src|href|class|style|alt|width|height|data-[\w-]+|target|rel|id|onclick)\s*=\s*\\?[\"'][^\"']*",
            r"\b(?:class|id|src|href|alt)=(?:align|size|wp-|img|https?:|/)\S*|^\W*img class\b|<!--|-->|<!\[CDATA\[|<!doctype|<\?xml|<\?php|\?>",
            r"\[/(?:img|url|b|i|quote|code|center|size|color|caption|gallery|embed|video|audio)\]|\[(?:img|url|b|i)\]",
            r"\[(?:img|url|quote|size|color|caption|gallery|embed|video|audio)(?:=|\s+[\w-]+\s*=)[^\]]*\]|\[/?(?:vc_|et_pb_)\w+|\[contact-form\b",
            r"!\[[^\]]*\]\([^)]*\)|\[[^\]]+\]\(https?://[^)]*\)",
            r"\\(?:begin|end|textbf|frac|includegraphics|section|cite|usepackage|documentclass)\{|\{\|\s*class=|\[\[(?:file|image|category):",
            r"&lt;/?\w+",
            ignore_case=True,
        ),
        catches="HTML, XML, BBCode, Markdown, LaTeX and shortcodes",
        origin=ORIGIN,
        kept={"caption": "Is 3 < 4 and 5 > 4? A lesson"},
        dropped={"caption": '<img src="cat.jpg" alt="cat">'},
    ),
    Rule(
        name="source_code.script",
        columns=("caption",),
        drops=matches(
            r"\bfunction\s*\*?\s*\w*\s*\([^)]*\)\s*\{?",
            r"\b(?:var|let|const|final|static|int|float|double|char|bool|boolean|String|auto|long)\s+\*?\w+(?:\[\])?\s*(?::\s*\w+\s*)?=\s*[^=]",
            r"=>\s*[{(\w]|\)\s*->\s*\w",
            r"\bdocument\.(?:get|query|write|create|body|cookie|location|add)\w*|\bwindow\.\w+\s*[=(.]|\bconsole\.(?:log|error|warn)|\.addEventListener\(|\.innerHTML|\.getElementBy\w+|\bJSON\.(?:parse|stringify)|\bmodule\.exports|\brequire\(['\"]",
            r"\$\(\s*['\"(]|\bjQuery\b\s*[.(]|\$\.\w+\(|\$\w+\s*=\s*[^=\s]|\$this->|\becho\s+[\"'$]",
            r"\bdef \w+\([^)]*\)\s*(?:->[^:]*)?:|\blambda \w+(?:, ?\w+)*:|\bself\.\w+\s*[=(.]|\b__\w+__\b|\bfor \w+ in (?:range|enumerate|zip)\(|\bif __name__|\bimport (?:numpy|pandas|os|sys|re|json|torch|tensorflow|matplotlib\S*|requests)\b|\bexcept \w*(?:Error|Exception)\b|\bnp\.\w+\(|\bplt\.\w+\(|\bpd\.\w+\(",
            r"\bimport (?:\w+\.)*\w+ as \w+|\bfrom [\w.]+ import [\w*]+|\bimport (?:java|javax|org|com|android)\.[\w.]+|\bimport\s+(?:\{[^}]*\}|\w+)\s+from\s+['\"]|\bexport (?:default|const|function|class)\b",
            r"#include\s*[<\"]|#define \w+|#ifndef \w+|\busing namespace \w+|\bstd::\w+|\bint main\s*\(|\bprintf\s*\(|\bcout\s*<<|\bmalloc\(|\bnullptr\b|->\w+\(",
            r"\b(?:public|private|protected)\s+(?:static\s+|final\s+|async\s+|override\s+)*(?:(?:void|class|int|string|bool|interface|enum|String|function)\s+\w+\s*(?:[({:;=<]|extends\b|implements\b|$)|\w+\s+\w+\()|\bSystem\.out\.print|\bnew \w+(?:<[^>]*>)?\([^)]*\);|@Override\b|\bclass \w+(?:\([^)]*\)|\s+(?:extends|implements)\s+\w+)?\s*[:{]\s*(?:$|\w+\s*[(:=]|def |constructor|public|private)",
            r"\b(?:if|while|for|switch|catch|foreach)\s*\([^)]*[=<>!;$&|][^)]*\)\s*\{?|\belse\s*\{|\}\s*else\b|\btry\s*\{|\breturn\s+[\w.]+(?:\([^)]*\))?\s*;|\bawait \w+(?:\.\w+)*\(|\basync (?:function|\()",
            r"\bprint(?:f|ln)?\(['\"\w].*\)\s*;?\s*$|\bfunc \w+\([^)]*\)[^{]*\{|\bfmt\.Print|\bfn \w+\([^)]*\)|\blet mut \w+|\bprintln!\(|\bputs ['\"]|\bdef \w+\s*;|\bend\s*$\n",
            r"\w+(?:\.\w+)+\([^)]*\)\s*;|\w+\s*\+=\s*\w+;|\w+\+\+\)|[{};]\s*\}\s*[;)]|\);\s*(?:\}|$)|\bNaN\b.*\bundefined\b|\(function\(|\}\)\(\)",
        ),
        catches="statements of common programming languages",
        origin=ORIGIN,
        kept={"caption": "The function of the heart (diagram)"},
        dropped={"caption": "var img = new Image(); img.onload = function() {"},
    ),
    Rule(
        name="source_code.data",
        columns=("caption",),
        drops=matches(
            r"^\s*[{\[]\s*[\"'][\w@ -]+[\"']\s*:",
            r"^\s*\[\s*\{|\}\s*,\s*\{\s*[\"']",
            r"\{[^{}]*[\w-]+\s*:\s*[^;{}]+;[^{}]*\}?",
            r"[\"']\w+[\"']\s*:\s*(?:[\"'][^\"']*[\"']|[\d{\[]|true|false|null).*,\s*[\"']\w+[\"']\s*:",
            r"\b(?:font-(?:size|family|weight)|margin(?:-\w+)?|padding(?:-\w+)?|background(?:-\w+)?|border(?:-\w+)?|color|display|width|height|float|position|text-align|line-height|z-index)\s*:\s*[^;:]{1,40};",
            r"@media\b.{0,40}\{|!important|\brgba?\(\s*\d+\s*,|^\s*[.#][\w-]+(?:\s+[.#]?[\w-]+)*\s*\{|@import\s+url|url\(['\"]?[^)]+\)\s*;?",
            r"^\s*\w+\s*:\s*\n?\s*-\s+\w+:|^---\s+\w+:|^\s*\[\w+\]\s+\w+\s*=|^\w+=[^\s;&]+(?:[;&]\w+=[^\s;&]*){2,}",
            r"^\w+(?:,\w*){5,}$|^\w+(?:;\w*){4,}$|^\w+(?:\t\w*){3,}$",
        ),
        catches="JSON, CSS, YAML and rows of tables",
        origin=ORIGIN,
        kept={"caption": 'The word "set": how it is used'},
        dropped={"caption": '{"id": 12, "title": "Sofa"}'},
    ),
    Rule(
        name="source_code.query",
        columns=("caption",),
        drops=matches(
            r"\bSELECT\b.+\bFROM\b\s+[\w`\"]+",
            r"(?i:\bselect\s+(?:\*|count\(|distinct |[\w.`]+(?:\s*,\s*[\w.`]+)+)\s*.*\bfrom\s+[\w`\"]+)",
            r"(?i:\binsert into\s+[`\w]+\s*(?:\(|values)|\bupdate\s+[`\w]+\s+set\s+\w+\s*=|\bdelete from\s+[`\w]+\s+where\b|\b(?:create|drop|alter)\s+(?:table|database|index|view|user)\s+(?:if (?:not )?exists\s+)?[`\w.]+\s*(?:[;(]|$|add\b|drop\b|cascade\b))|\b(?:LEFT|INNER|RIGHT|OUTER) JOIN\b|\bWHERE\s+\w+\s*(?:=|LIKE|IN)\b|\b(?:GROUP|ORDER) BY\s+\w+|\bPRIMARY KEY\b|\bVARCHAR\(",
        ),
        catches="SQL",
        origin=ORIGIN,
        kept={"caption": "Select a gift from our table"},
        dropped={"caption": "SELECT * FROM wp_posts WHERE id=3"},
    ),
    Rule(
        name="source_code.shell",
        columns=("caption",),
        drops=matches(
            r"^[\s$#>]*(?:sudo \w+|apt(?:-get)? (?:install|update|remove)|pip3? install|conda install|npm (?:install|run|start|i)|yarn (?:add|install)|brew install|docker (?:run|build|pull|compose|exec|ps)|kubectl \w+|chmod [+\d]\S*|chown \w+|mkdir -p|rm -r?f|tar -?[xc]\w+|git (?:clone|commit|push|pull|checkout|add|merge|rebase|status)|ssh -?\w+@?\S*@|scp \S+|curl -\w|wget (?:-|http)|cd \.\.?/|cd /\w|ls -[la]+|grep -\w|ps aux|systemctl \w+|make install|python3? (?:-m |\S+\.py)|echo \$\w|export \w+=|source \S+/bin|nano /|vim? /|cat /\w|ping -\w|ipconfig /|netstat -|ffmpeg -\w)",
            r"^\s*(?:[\w.-]+@[\w.-]+[:~][^$#]*[$#]|[$#]\s+(?:cd|ls|cat|mkdir|cp|mv|git|python3?|sudo|echo|npm|pip)\b|C:\\>|PS C:\\|>>>\s)\s*\S*|^\s*#!/(?:usr/)?bin/",
        ),
        catches="shell commands and prompts",
        origin=ORIGIN,
        kept={"caption": "A cat and a grep of pears: a shell on the beach"},
        dropped={"caption": "sudo apt-get install nginx"},
    ),
    Rule(
        name="source_code.path",
        columns=("caption",),
        drops=matches(
            r"(?i)(?:^|\s)[a-z]:\\(?:[^\\\s]+\\)*[^\\\s]+|\\\\[\w.-]+\\[\w$.-]+",
            r"(?:^|[\s\"'(=])\.{0,2}/(?:var|usr|etc|home|opt|srv|tmp|bin|wp-content|wp-includes|images?|img|assets|static|uploads|media|public_html|www|src|node_modules|sites|files|content|themes)/\S+",
            r"^\s*~?/?(?:[\w.-]+/){2,}[\w.%-]+\.\w{2,5}\s*$|^\s*/(?:[\w.-]+/)+[\w.-]*\s*$",
            r"^\s*(?:[\w-]+/){3,}[\w.-]+\s*$|\b\w+\.(?:php|aspx?|cgi|jsp)\?\S+|^\s*\?\w+=\S*$|^\S+\.(?:jpe?g|png|gif|webp)\?\S+$|[?&]\w+=[^\s&]*&\w+=",
            r"(?i)^\s*(?:products?|images?|uploads?|media|files?|assets|img|content|static|cdn|photos?|gallery|themes?|public|storage|catalog(?:ue)?|blog|data|default|wp-content)/[^\s/]\S*\s*$",
        ),
        catches="paths of files",
        origin=ORIGIN,
        kept={"caption": "Black/white/red sneakers and/or boots, 24/7"},
        dropped={"caption": "/var/www/html/wp-content/uploads/2019/05/hero.jpg"},
    ),
    Rule(
        name="source_code.traceback",
        columns=("caption",),
        drops=matches(
            r"Traceback \(most recent call last\)|File \"[^\"]+\", line \d+",
            r"(?:Exception|Error) in thread|Unhandled (?:exception|rejection)|Uncaught \w*(?:Error|Exception|\()|Caused by: |Segmentation fault|core dumped|Stack trace:|stack overflow at|Fatal error:|kernel panic - ",
            r"\bat [\w$.<>]+\([\w.$ ]+(?::\d+)+\)|\bat \S+:\d+:\d+|\(\S+:\d+:\d+\)",
            r"\b(?:\w+\.)*[A-Z]\w*(?:Error|Exception)\b\s*(?::|\(|at )|\bjava\.lang\.\w+|\bSystem\.\w+Exception|\bORA-\d{5}|\bSQLSTATE\[|\bERRNO\b|\b0x[0-9a-fA-F][0-9a-fA-F]{7}\b|\bERR_[A-Z_]{3,}|\bE_[A-Z]{4,}\b|\bHRESULT\b",
            r"(?:Warning|Fatal error|Notice|Parse error|Deprecated|Strict Standards)\s*:\s.*(?:\bin\s+/|on line|\(\)|expects|undefined|syntax error|call to)",
            r"(?i)undefined (?:index|variable|offset|function|method|property)|cannot read propert(?:y|ies)|is not a function|is not defined\b|null pointer|nullpointer|division by zero in|unexpected (?:token|end of|t_\w+)|permission denied \(publickey|command not found|no such file or directory|syntax error(?:,|:| near| at)|failed to open stream|headers already sent|access violation at|mysql_\w+\(|maximum execution time|allowed memory size",
        ),
        catches="stack traces and messages of interpreters",
        origin=ORIGIN,
        kept={"caption": "An exception to the rule"},
        dropped={"caption": "Warning: Undefined variable $alt in /srv/x.php on line 3"},
    ),
]
