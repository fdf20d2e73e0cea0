"""The grader: a table of verdicts made by hand, and what holds for every text."""

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrun.tasks import checker
from rlrun.tasks.answers import (
    canonical,
    grade_answer,
    has_marked_answer,
    is_gradable,
    judge,
    needs_checker,
)
from rlrun.types import Verdict

Case = tuple[str, str, str, Verdict]
"""Why, the text, the gold answer, the verdict."""

EXTRACTION: list[Case] = [
    ("a box", r"so \boxed{72}", "72", "correct"),
    ("a framed box", r"so \fbox{72}", "72", "correct"),
    ("a space before the box's brace", r"\boxed {72}", "72", "correct"),
    ("text after the box", r"\boxed{72} is what she sold in all 2 months.", "72", "correct"),
    ("braces in a box are matched", r"\boxed{\frac{1}{2}}", "1/2", "correct"),
    ("escaped braces in a box are not matched", r"\boxed{\}a}", r"\}a", "correct"),
    ("a box in a box", r"\boxed{\boxed{5}}", "5", "correct"),
    ("a box in a formula", r"\[ x = \boxed{5} \]", "5", "correct"),
    ("of two boxes the last", r"\boxed{3} \boxed{4}", "4", "correct"),
    ("of two boxes not the first", r"\boxed{3} \boxed{4}", "3", "wrong"),
    ("a correction", r"\boxed{3}. Wait, no: \boxed{4}", "4", "correct"),
    ("a correction for the worse", r"\boxed{4}. Wait, no: \boxed{3}", "4", "wrong"),
    ("boxes that are near are not joined", r"$\boxed{3}$, $\boxed{4}$", "4", "correct"),
    ("a spray of boxes has one answer", r"\boxed{1} \boxed{2} \boxed{4} \boxed{8}", "4", "wrong"),
    ("a spray in one box has none", r"\boxed{1, 2, 4, 8}", "4", "wrong"),
    ("an open box is passed over", r"\boxed{3} but \boxed{4", "3", "correct"),
    ("a box in an open box", r"\boxed{3 and \boxed{4}", "4", "correct"),
    ("closing braces without end", r"\boxed{4} }}}", "4", "correct"),
    ("an empty box is passed over", r"\boxed{4} \boxed{ }", "4", "correct"),
    ("only an open box, so the last number", r"that is \boxed{12", "12", "correct"),
    ("a box beats hashes and sentence", r"\boxed{72} #### 5, the answer is 6", "72", "correct"),
    ("a box beats what comes later", "\\boxed{72}\n#### 5", "5", "wrong"),
    ("hashes", "48 + 24 = 72\n#### 72", "72", "correct"),
    ("hashes without a space", "####72", "72", "correct"),
    ("of two hashes the last", "#### 3\nno, wait\n#### 4", "4", "correct"),
    ("of two hashes in a line the last", "#### 3 #### 4", "4", "correct"),
    ("hashes beat the sentence", "the answer is 5\n#### 72\nThe answer is 6", "72", "correct"),
    ("what follows the line is not looked at", "#### 72\nHow many are 3 and 4?", "72", "correct"),
    ("an empty mark is passed over", "#### 72\n####", "72", "correct"),
    ("hashes before a carriage return", "#### 72\r\n", "72", "correct"),
    ("words after hashes", "#### Paris", "Paris", "correct"),
    ("five hashes are a heading", "##### 72 is a heading, 5 is not", "5", "correct"),
    ("two hashes are a heading", "## Step 2\nThat makes 72", "72", "correct"),
    ("a sharp is no mark", "#### C#", "C#", "correct"),
    ("a sentence", "The answer is 72.", "72", "correct"),
    ("a sentence with a colon", "the answer is: 72", "72", "correct"),
    ("a final answer", "The FINAL answer is 72!", "72", "correct"),
    ("a correct answer", "So the correct answer is 72.", "72", "correct"),
    ("of two sentences the last", "The answer is 3. The answer is 4. 5 is wrong", "4", "correct"),
    ("a decimal point ends no sentence", "The answer is 3.5 dollars. 7 are left.", "3.5",
     "correct"),
    ("a bold sentence", "**The final answer is:** 72 eggs\n8", "72", "correct"),
    ("an answer on the next line", "The answer is:\n72", "72", "correct"),
    ("an answer in the formula below", "The answer is:\n\\[\n72\n\\]", "72", "correct"),
    ("an answer in words", "The answer is Paris.", "paris", "correct"),
    ("an answer that denies", "The answer is not 5.", "5", "wrong"),
    ("without a mark the last number", "48 and 24 make 72 clips", "72", "correct"),
    ("without a mark not the first number", "48 and 24 make 72 clips", "48", "wrong"),
    ("no sentence, so the last number", "The answer isn't 5 or 6", "6", "correct"),
    ("a difference is no sign", "7-5", "5", "correct"),
    ("a sign", "it falls to -5 degrees", "-5", "correct"),
    ("a price at the end", "from 10 to $1,234.50.", "1234.5", "correct"),
    ("a bullet is no sign", "- 5 apples", "5", "correct"),
    ("a number between Chinese characters", "\u7b54\u6848\u662f18\u4e2a", "18", "correct"),
    ("a million at the end", "about 5 million people", "5000000", "correct"),
    ("a fraction at the end", "half of it, 1/2", "0.5", "correct"),
    ("a calculator's mark", "<<48+24=72>>", "72", "correct"),
    ("a bold number at the end", "in all **72**!", "72", "correct"),
    ("a bold number without spaces", "in all**72**eggs", "72", "correct"),
    ("a number in italics", "in all *72* eggs", "72", "correct"),
    ("a room is no number", "room B12", "12", "no_answer"),
    ("words without a mark are no answer", "It is Paris", "Paris", "no_answer"),
    ("nothing at all", "", "72", "no_answer"),
    ("white space", " \n\t", "72", "no_answer"),
    ("only an empty box", r"\boxed{}", "72", "no_answer"),
    ("only empty hashes", "####", "72", "no_answer"),
]  # fmt: skip

NUMBERS: list[Case] = [
    ("thousands", "#### 1,234", "1234", "correct"),
    ("thousands of the gold", "#### 1234", "1,234", "correct"),
    ("millions with decimals", "#### 1,234,567.80", "1234567.8", "correct"),
    ("thousands in braces", "#### 1{,}234", "1234", "correct"),
    ("thousands with a kern", r"#### 1,\!234", "1234", "correct"),
    ("thousands with a thin space", r"#### 1\,234", "1234", "correct"),
    ("thousands with hard spaces", "#### 1\u00a0234\u00a0567", "1234567", "correct"),
    ("thousands with a narrow space", "#### 12\u202f345", "12345", "correct"),
    ("a thin space elsewhere joins nothing", r"#### 3\,4", "34", "wrong"),
    ("a plain space joins nothing", "#### 1 234", "1234", "wrong"),
    ("two digits after a comma", "#### 1,2", "12", "wrong"),
    ("a list is not its last number", "#### 1,2", "2", "wrong"),
    ("no thousands after a zero", "#### 0,123", "123", "wrong"),
    ("four digits after a comma", "#### 1,2345", "12345", "wrong"),
    ("a decimal comma is a list", "#### 0,5", "0.5", "wrong"),
    ("zeros behind", "#### 18.00", "18", "correct"),
    ("no zero in front", "#### .5", "0.50", "correct"),
    ("a full stop", "#### 18.", "18", "correct"),
    ("zeros in front", "#### 007", "7", "correct"),
    ("a version is no decimal", "#### 1.2.3", "1.2", "wrong"),
    ("decimals are exact", "#### 0.1", "0.1000000000000000055511151231257827", "wrong"),
    ("integers are exact", "#### 9007199254740993", "9007199254740992", "wrong"),
    ("a third is no decimal", "#### 1/3", "0.333333333333333333333333", "wrong"),
    ("a plus", "#### +5", "5", "correct"),
    ("a minus", "#### -5", "-5.0", "correct"),
    ("a minus and a space", "#### - 5", "-5", "correct"),
    ("a minus of typography", "#### \u22125", "-5", "correct"),
    ("a dash for a minus", "#### \u20135", "-5", "correct"),
    ("minus in words", "#### minus 5", "-5", "correct"),
    ("negative in words", "#### negative 5", "-5", "correct"),
    ("minus nothing", "#### -0", "0", "correct"),
    ("the wrong sign", "#### -5", "5", "wrong"),
    ("the wrong sign in words", "#### minus 5", "5", "wrong"),
    ("the wrong sign of money", "#### -$5", "5", "wrong"),
    ("a minus before brackets", "#### -(5)", "5", "wrong"),
    ("a negative number in brackets", r"\boxed{(-5)}", "-5", "correct"),
    ("two signs", "#### --5", "5", "wrong"),
    ("dollars", "#### $18", "18", "correct"),
    ("dollars in LaTeX", r"\boxed{\$18}", "18", "correct"),
    ("euros", "#### \u20ac18", "18", "correct"),
    ("pounds", "#### \u00a318", "18", "correct"),
    ("pounds in LaTeX", r"\boxed{\pounds18}", "18", "correct"),
    ("rupees", "#### \u20b918", "18", "correct"),
    ("cents", "#### 18\u00a2", "18", "correct"),
    ("owed dollars", "#### -$18", "-18", "correct"),
    ("owed dollars in LaTeX", r"\boxed{-\$18}", "-18", "correct"),
    ("dollars, then the sign", "#### $-18", "-18", "correct"),
    ("a country's dollars", "#### US$18", "18", "correct"),
    ("a currency in words", "#### 18 dollars", "18", "correct"),
    ("a price a day", "#### $18.00/day", "18", "correct"),
    ("a currency of the gold", "#### 18", "$18", "correct"),
    ("percent", "#### 50%", "50", "correct"),
    ("percent in LaTeX", r"\boxed{50\%}", "50", "correct"),
    ("percent in words", "#### 50 percent.", "50", "correct"),
    ("percent of the gold", "#### 50", "50%", "correct"),
    ("percent is not divided by a hundred", "#### 50%", "0.5", "wrong"),
    ("a share is not multiplied by a hundred", "#### 0.5", "50%", "wrong"),
    ("a unit", "#### 18 cm", "18", "correct"),
    ("a unit without a space", "#### 18cm", "18", "correct"),
    ("one letter for a unit", "#### 5 m", "5", "correct"),
    ("a square unit", "#### 5 m^2", "5", "correct"),
    ("a cubic unit in LaTeX", r"\boxed{5\text{ cm}^{3}}", "5", "correct"),
    ("a unit in a superscript", "#### 5 m\u00b2", "5", "correct"),
    ("degrees", r"\boxed{90^\circ}", "90", "correct"),
    ("degrees in braces", r"\boxed{90^{\circ}}", "90", "correct"),
    ("words around the number", "#### she has 18 eggs left", "18", "correct"),
    ("a word of one letter", "#### 18 a day", "18", "correct"),
    ("a time of the day", "#### 7 p.m.", "7", "correct"),
    ("an ordinal", "#### 5th", "5", "correct"),
    ("a dozen is a unit", "#### 3 dozen", "36", "wrong"),
    ("a name before the number", "#### x = 18", "18", "correct"),
    ("a name before a negative number", "#### x = - 18", "-18", "correct"),
    ("nearly", r"\boxed{x \approx 18}", "18", "correct"),
    ("millions in words", "#### 5 million dollars", "5000000", "correct"),
    ("a decimal of millions", "#### $2.5 million", "2,500,000", "correct"),
    ("hundreds", "#### 3 hundred", "300", "correct"),
    ("thousands by a letter", "#### 10k", "10000", "correct"),
    ("millions by a letter", "#### $5M", "5000000", "correct"),
    ("metres are not millions", "#### 5m", "5", "correct"),
    ("kilometres are not thousands", "#### 5 km", "5", "correct"),
    ("a million is not one", "#### 5 million", "5", "wrong"),
    ("ten thousand is not ten", "#### 10k", "10", "wrong"),
    ("a fraction", "#### 3/4", "0.75", "correct"),
    ("a fraction not in lowest terms", "#### 2/4", "1/2", "correct"),
    ("a fraction with spaces", "#### 3 / 4", "0.75", "correct"),
    ("a fraction and a unit", "#### 3/4 cup", "0.75", "correct"),
    ("a fraction in LaTeX", r"\boxed{\frac{3}{4}}", "0.75", "correct"),
    ("a large fraction in LaTeX", r"\boxed{\dfrac{ 3 }{ 4 }}", "3/4", "correct"),
    ("a fraction without braces", r"\boxed{\frac34}", "3/4", "correct"),
    ("a fraction with some braces", r"\boxed{\frac3{4}}", "3/4", "correct"),
    ("a negative fraction", r"\boxed{-\frac{1}{2}}", "-0.5", "correct"),
    ("a fraction of a negative number", r"\boxed{\frac{-1}{2}}", "-1/2", "correct"),
    ("a fraction by a negative number", r"\boxed{\frac{1}{-2}}", "-1/2", "correct"),
    ("a fraction of thousands", r"\boxed{\frac{1,080}{2}}", "540", "correct"),
    ("one character for a fraction", "#### \u00bd", "0.5", "correct"),
    ("a mixed number", "#### 1 1/2", "1.5", "correct"),
    ("a mixed number in LaTeX", r"\boxed{1\frac{1}{2}}", "1.5", "correct"),
    ("a mixed number with one character", "#### 1\u00bd cups", "1.5", "correct"),
    ("a negative mixed number", "#### -1 1/2", "-1.5", "correct"),
    ("a mixed number is not eleven halves", r"\boxed{1\frac{1}{2}}", "11/2", "wrong"),
    ("a product is no mixed number", "#### 3 * 1/2", "3.5", "wrong"),
    ("a product in LaTeX is no mixed number", r"\boxed{3 \cdot \frac{1}{2}}", "3.5", "wrong"),
    ("a fraction times a number is no fraction", r"\boxed{\frac{1}{2}3}", "1/23", "wrong"),
    ("a fraction of a fraction", r"\boxed{\frac{\frac12}{3}}", "1/2", "wrong"),
    ("a ratio of three", "#### 1/2/3", "1/2", "wrong"),
    ("nothing to divide by", "#### 1/0", "0", "wrong"),
    ("a power of ten by e", "#### 1.2e5", "120000", "correct"),
    ("a power of ten by a large e", "#### 1E5", "100,000", "correct"),
    ("a negative power of ten by e", "#### 5e-1", "0.5", "correct"),
    ("a power of ten in LaTeX", r"\boxed{1.2 \times 10^5}", "120000", "correct"),
    ("a power of ten in braces", r"\boxed{1.2 \cdot 10^{-3}}", "0.0012", "correct"),
    ("a power of ten by hand", "#### 1.2 x 10^5", "120000", "correct"),
    ("a power of ten in a superscript", "#### 1.2 \u00d7 10\u2075", "120000", "correct"),
    ("a power of ten alone", "#### 10^5", "100000", "correct"),
    ("a power of ten of the gold", "#### 120000", r"1.2 \times 10^5", "correct"),
    ("a power of ten is not its factor", r"\boxed{1.2 \times 10^5}", "1.2", "wrong"),
    ("a power of ten is not ten", "#### 10^{5}", "10", "wrong"),
    ("an exponent too large", "#### 1e999999999", "1", "wrong"),
    ("a power of another number", "#### 2^5", "32", "wrong"),
    ("a hedge", "#### 18 or 20", "18", "wrong"),
    ("a hedge the other way", "#### 18 or 20", "20", "wrong"),
    ("a list", "#### 18, 20", "20", "wrong"),
    ("a range", "#### 18-20", "18", "wrong"),
    ("a chain", "#### 1 = 2 = 3 = 4", "4", "wrong"),
    ("a chain in a box", r"\boxed{1=2=3=4}", "4", "wrong"),
    ("a sum with its result", "#### 5 + 13 = 18", "18", "wrong"),
    ("a sum without its result", "#### 5 + 13", "18", "wrong"),
    ("an equation that is not solved", "#### 2x = 18", "18", "wrong"),
    ("an equation of a square", "#### x^2 = 9", "9", "wrong"),
    ("a multiple of a variable", "#### 2x", "2", "wrong"),
    ("a multiple of a variable at some distance", "#### 2 n", "2", "wrong"),
    ("a multiple of pi", r"\boxed{2\pi}", "2", "wrong"),
    ("a difference with a variable", "#### x - 5", "5", "wrong"),
    ("a difference is no negative number", "#### x - 5", "-5", "wrong"),
    ("divided by a variable", "#### 5/n", "5", "wrong"),
    ("a root", r"\boxed{\sqrt{18}}", "18", "wrong"),
    ("a root in one character", "#### \u221a18", "18", "wrong"),
    ("a factorial", r"\boxed{5!}", "5", "wrong"),
    ("an absolute value", r"\boxed{|-5|}", "-5", "wrong"),
    ("an inequality", "#### x < 18", "18", "wrong"),
    ("at least", "#### >= 18", "18", "wrong"),
    ("not equal", "#### x != 18", "18", "wrong"),
    ("more or less", r"\boxed{\pm 18}", "18", "wrong"),
    ("another base", "#### 110_2", "110", "wrong"),
    ("another base in braces", r"\boxed{110_{2}}", "110", "wrong"),
    ("a hexadecimal number", "#### 0x10", "10", "wrong"),
    ("a date", "#### 5/6/2020", "5/6", "wrong"),
    ("a time", "#### 12:30", "12", "wrong"),
    ("Arabic digits", "#### \u0661\u0662", "12", "wrong"),
    ("a number in words", "#### seventy-two", "72", "wrong"),
    ("too long to calculate with", "#### " + "9" * 200, "9" * 200, "correct"),
    ("too long, and another", "#### " + "9" * 200, "9" * 199 + "8", "wrong"),
    ("a font", r"\boxed{\text{13}}", "13", "correct"),
    ("a bold font", r"\boxed{\textbf{13}}", "13", "correct"),
    ("a roman unit", r"\boxed{18\ \mathrm{dollars}}", "18", "correct"),
    ("a formula in brackets", r"#### \(18\)", "18", "correct"),
    ("a formula in dollars", "#### $18$", "18", "correct"),
    ("bold", "#### **18**", "18", "correct"),
    ("bold with a unit", "#### **18** eggs", "18", "correct"),
    ("italics", "#### *18*", "18", "correct"),
    ("code", "#### `18`", "18", "correct"),
    ("the end of a text", "#### 18</s>", "18", "correct"),
    ("the end of a turn", "#### 18<|im_end|>", "18", "correct"),
    ("a tag", "<answer>18</answer>", "18", "correct"),
]  # fmt: skip

WORDS: list[Case] = [
    ("case and spacing", "####   Paris\u00a0 in  SPRING.", "paris in spring", "correct"),
    ("words in a font", r"\boxed{\text{Paris}}", "Paris", "correct"),
    ("another word", "#### London", "Paris", "wrong"),
    ("more than the words", "#### Paris or London", "Paris", "wrong"),
    ("a number for words", "#### 5", "Paris", "wrong"),
    ("a choice", r"\boxed{B}", "B", "correct"),
    ("a choice in brackets", r"\boxed{\text{(B)}}", "B", "correct"),
    ("a small choice", "#### b", "B", "correct"),
    ("another choice", r"\boxed{C}", "B", "wrong"),
    ("all the choices", r"\boxed{A B C D}", "B", "wrong"),
    ("a time of day", "#### 12:30", "12:30", "correct"),
    ("another time of day", "#### 12:31", "12:30", "wrong"),
    ("a day", "#### 2020-01-05", "2020-01-05", "correct"),
    ("another day", "#### 2020-01-06", "2020-01-05", "wrong"),
    ("a mark of a school", "#### A+", "A+", "correct"),
    ("another mark of a school", "#### A", "A+", "wrong"),
]  # fmt: skip

FORMULAS: list[Case] = [
    ("as it stands", r"\boxed{\frac{\sqrt{2}}{2}}", r"\frac{\sqrt{2}}{2}", "correct"),
    ("other braces and spaces", r"\boxed{\dfrac{ \sqrt2 }{2}}", r"\frac{\sqrt{2}}{2}", "correct"),
    ("another form", r"\boxed{\frac{1}{\sqrt{2}}}", r"\frac{\sqrt{2}}{2}", "correct"),
    ("an exact decimal", r"\boxed{0.5\sqrt{2}}", r"\frac{\sqrt{2}}{2}", "correct"),
    ("a rounded decimal", r"\boxed{0.707107}", r"\frac{\sqrt{2}}{2}", "wrong"),
    ("an exact number", r"\boxed{4}", r"\sqrt{16}", "correct"),
    ("a unit behind it", r"\boxed{3\sqrt{2}\text{ cm}}", r"3\sqrt{2}", "correct"),
    ("a name before it", r"\boxed{x = 3\sqrt{2}}", r"3\sqrt{2}", "correct"),
    ("a function before it", r"\boxed{f^{-1}(x) = 3x}", "3x", "correct"),
    ("an order of terms", "#### 1 + x", "x + 1", "correct"),
    ("a product", "#### (x+1)(x-1)", "x^2 - 1", "correct"),
    ("a power by stars", "#### x**2 - 1", "x^2 - 1", "correct"),
    ("another power", "#### x^3", "x^2", "wrong"),
    ("another variable", "#### y^2", "x^2", "wrong"),
    ("a coefficient without its variable", "#### 2", "2t", "wrong"),
    ("no coefficient", "#### t", "2t", "wrong"),
    ("another multiple of pi", r"\boxed{3\pi}", r"2\pi", "wrong"),
    ("pi in digits", "#### 6.283185", r"2\pi", "wrong"),
    ("nearly nothing", "#### 0.0", r"\frac{1}{10^8}", "wrong"),
    ("twice nearly nothing", r"\boxed{\frac{2}{10^{30}}}", r"\frac{1}{10^{30}}", "wrong"),
    ("the same base", r"\boxed{110_{2}}", "110_2", "correct"),
    ("the base dropped", r"\boxed{110}", "110_2", "wrong"),
    ("another base", r"\boxed{110_3}", "110_2", "wrong"),
    ("the value of a number in another base", r"\boxed{6}", "110_2", "wrong"),
    ("a chain that ends well", r"\boxed{1 = 2 = \sqrt{2}}", r"\sqrt{2}", "wrong"),
    ("an equation that ends well", r"\boxed{1 = \sqrt{2}}", r"\sqrt{2}", "wrong"),
    ("two equations without a solution", r"\boxed{x^2 + 2 = 0}", "x^2 + 1 = 0", "wrong"),
    ("two bare equations", r"\boxed{x + 3 = 0}", "x^2 + y = 0", "wrong"),
    ("an equation in another form", r"\boxed{2x - y + 3 = 0}", "y = 2x + 3", "correct"),
    ("a multiple of an equation", r"\boxed{2y = 4x + 6}", "y = 2x + 3", "correct"),
    ("the right side of an equation", r"\boxed{2x + 3}", "y = 2x + 3", "correct"),
    ("equations swapped", r"\boxed{x = 2, y = 1}", "x = 1, y = 2", "wrong"),
    ("numbers for equations", r"\boxed{2, 1}", "x = 1, y = 2", "wrong"),
    ("a set in another order", r"\boxed{2, 1}", "1, 2", "correct"),
    ("a set in braces", r"\boxed{\{1, 2\}}", "1, 2", "correct"),
    ("a part of a set", r"\boxed{1}", "1, 2", "wrong"),
    ("more than a set", r"\boxed{1, 2, 3}", "1, 2", "wrong"),
    ("both signs", r"\boxed{2, -2}", r"\pm 2", "correct"),
    ("one sign of two", r"\boxed{2}", r"\pm 2", "wrong"),
    ("a point", r"\boxed{\left(1, 2\right)}", "(1,2)", "correct"),
    ("a point mirrored", r"\boxed{(2, 1)}", "(1,2)", "wrong"),
    ("another bracket", r"\boxed{[1, 2)}", "[1,2]", "wrong"),
    ("an inequality for an interval", r"\boxed{x \le 2}", r"(-\infty,2]", "correct"),
    ("a strict inequality", r"\boxed{x < 2}", r"(-\infty,2]", "wrong"),
    ("infinity", r"\boxed{\infty}", r"\infty", "correct"),
    ("the other infinity", r"\boxed{-\infty}", r"\infty", "wrong"),
    ("a matrix", r"\boxed{\begin{pmatrix} 1 & 2 \end{pmatrix}}",
     r"\begin{pmatrix}1&2\end{pmatrix}", "correct"),
    ("another matrix", r"\boxed{\begin{pmatrix} 1 & 3 \end{pmatrix}}",
     r"\begin{pmatrix}1&2\end{pmatrix}", "wrong"),
    ("a tower of powers", r"\boxed{5^{5^{5^{5^5}}}}", r"\sqrt{2}", "wrong"),
    ("a tower of powers without braces", r"\boxed{5^(5^(5^(5)))}", r"\sqrt{2}", "wrong"),
    ("a huge exponent", r"\boxed{2^{99999999}}", r"\sqrt{2}", "wrong"),
    ("a huge factorial", r"\boxed{99999999!}", r"\sqrt{2}", "wrong"),
    ("nested without end", r"\boxed{" + "(" * 90 + "x" + ")" * 90 + "}", r"\sqrt{x^2}", "wrong"),
    ("long without end", r"\boxed{" + "1+" * 200 + "1}", r"\sqrt{2}", "wrong"),
    ("prose", "The answer is square root of 2, which is nice.", r"\sqrt{2}", "wrong"),
    ("not LaTeX", r"\boxed{\frac \sqrt}", r"\sqrt{2}", "wrong"),
    ("a range of letters", "#### 3a - 2b", "3a-2b", "correct"),
]  # fmt: skip

TRUNCATED: list[Case] = [
    ("nothing", "", "72", "truncated"),
    ("a number that may go on", "48 and 24 make 7", "7", "truncated"),
    ("the right number without a mark", "48 and 24 make 72 clips, and", "72", "truncated"),
    ("an open box", r"so \boxed{72", "72", "truncated"),
    ("a box", r"so \boxed{72}", "72", "correct"),
    ("a wrong box", r"so \boxed{71}", "72", "wrong"),
    ("a box, and more", r"so \boxed{72}, which is 48 plus", "72", "correct"),
    ("a box, and an open one", r"\boxed{72}. Wait, no: \boxed{7", "72", "correct"),
    ("hashes that may go on", "#### 72", "72", "truncated"),
    ("hashes with a space that may go on", "#### 72 ", "72", "truncated"),
    ("hashes, and the end of the line", "#### 72\n", "72", "correct"),
    ("hashes, and more", "#### 72\nQuestion: how many", "72", "correct"),
    ("wrong hashes, and more", "#### 71\nQuestion: how many", "72", "wrong"),
    ("hashes, and some that may go on", "#### 72\n#### 7", "72", "correct"),
    ("a sentence that may go on", "The answer is 72", "72", "truncated"),
    ("a full stop that may be a point", "The answer is 72.", "72", "truncated"),
    ("a sentence, and a space", "The answer is 72. ", "72", "correct"),
    ("a sentence, and the end of the line", "The answer is 72\n", "72", "correct"),
    ("a sentence, and more", "The answer is 72. To check", "72", "correct"),
    ("an answer below that may go on", "The answer is:\n72", "72", "truncated"),
    ("empty marks", "#### \n\\boxed{}\nthe answer is .\n72", "72", "truncated"),
]  # fmt: skip

TABLES = [EXTRACTION, NUMBERS, WORDS, FORMULAS]
CASES = [pytest.param(*rest, id=reason) for table in TABLES for reason, *rest in table]


@pytest.mark.parametrize(("text", "gold", "verdict"), CASES)
def test_a_whole_text_is_graded_as_derived_by_hand(text: str, gold: str, verdict: Verdict) -> None:
    assert grade_answer(text, gold, is_truncated=False).verdict == verdict


@pytest.mark.parametrize(
    ("text", "gold", "verdict"), [pytest.param(*rest, id=why) for why, *rest in TRUNCATED]
)
def test_a_text_that_was_cut_off_is_graded_as_derived_by_hand(
    text: str, gold: str, verdict: Verdict
) -> None:
    assert grade_answer(text, gold, is_truncated=True).verdict == verdict


def test_a_reason_is_given_for_every_verdict_and_only_once() -> None:
    reasons = [reason for reason, *_ in (*EXTRACTION, *NUMBERS, *WORDS)]
    assert len(reasons) + len(FORMULAS) + len(TRUNCATED) > 300
    for table in (reasons, [case[0] for case in FORMULAS], [case[0] for case in TRUNCATED]):
        assert len(set(table)) == len(table)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{ 1,080 } clips", "1,080"),
        ("#### $18.00 a day\nbye", "$18.00 a day"),
        ("it costs $1,234.50.", "1,234.50"),
        ("no number", None),
    ],
)
def test_a_grade_has_the_answer_as_it_is_written(text: str, answer: str | None) -> None:
    assert grade_answer(text, "72", is_truncated=False).answer == answer


def test_what_was_cut_off_has_no_answer() -> None:
    assert grade_answer("48 and 24 make 72", "72", is_truncated=True).answer is None


@pytest.mark.parametrize(
    ("text", "is_marked"),
    [
        (r"\boxed{72}", True),
        ("#### 72", True),
        ("the answer is 72", True),
        ("72", False),
        ("####", False),
        (r"\boxed{72", False),
        ("the answer is .", False),
    ],
)
def test_only_a_complete_and_filled_mark_marks_an_answer(text: str, is_marked: bool) -> None:
    assert has_marked_answer(text, is_truncated=False) is is_marked


@pytest.mark.parametrize("gold", ["72", "1,080", "Paris", r"\frac{\sqrt{2}}{2}", "x = 1, y = 2"])
def test_a_gold_answer_that_marks_survive_can_be_graded(gold: str) -> None:
    assert is_gradable(gold)


@pytest.mark.parametrize(
    "gold",
    [
        pytest.param("1\n2", id="a second line"),
        pytest.param("$", id="nothing but layout"),
        pytest.param(r"\frac{1}{2", id="an open brace"),
        pytest.param(r"\frac{1}{x}}{2}", id="a closing brace"),
        pytest.param("3 #### 4", id="a mark of its own"),
        pytest.param(r"\boxed{3} or 4", id="a box of its own"),
    ],
)
def test_a_gold_answer_that_no_mark_survives_cannot_be_graded(gold: str) -> None:
    assert not is_gradable(gold)


@pytest.mark.parametrize("gold", ["72", r"\frac{1}{2}", "50%", "Paris", "12:30", "COVID-19"])
def test_numbers_and_words_are_decided_without_the_checker(
    gold: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checker, "check", lambda *_: pytest.fail("it was asked"))
    for text in (rf"\boxed{{{gold}}}", r"\boxed{\sqrt{2}}", r"\boxed{x^2}"):
        assert grade_answer(text, gold, is_truncated=False).verdict in ("correct", "wrong")


def test_a_checker_that_gives_up_is_a_verdict_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checker, "check", lambda *_: "checker_timeout")
    grade = grade_answer(r"\boxed{x + x}", "2x", is_truncated=False)
    assert (grade.verdict, grade.answer) == ("checker_timeout", "x + x")


MANY = [
    "9", "1.", "1 ", "1/", "10^", "10 ", "-", "- ", "*", "*a ", "-$", "<a", "m^", "a", "2\u00b2",
    "not ", "\\", "#", "#### ", "#### $\n", "the answer is ", "the answer is . ", r"\boxed{",
    r"\boxed{ }", r"\frac{1", r"\text{", r"x\text{a", "{", "(", "1,", "_1}", "x=", "^{", "1 = ",
]  # fmt: skip
BEFORE_MANY = [
    ("1", " "), ("1", "\n"), ("1", ",234"), ("1", "\u2009234"), (r"\boxed", " "),
    (r"\boxed{", "{"), (r"\boxed{", "1"), (r"\frac{", " "), (r"\text", " "), ("the", " "),
    ("*a", " "), ("-", "("), ("minus", " "), ("=", " "), ("#### x", "_1}"), ("10^", " "),
]  # fmt: skip
NESTED = [r"\boxed{", "(", "{", r"\text{", r"\frac{"]
PARTS = [
    *(("", piece, "") for piece in MANY),
    *((first, piece, "") for first, piece in BEFORE_MANY),
    *(("", opening, "}") for opening in NESTED),
    ("", r"\boxed{", "1}"),
]


def seconds_to_grade(first: str, piece: str, last: str, size: int) -> float:
    """Return the processor's time for a text of about `size` characters."""
    count = size // len(piece + last)
    text = first + piece * count + last * count
    began = time.process_time()
    grade_answer(text, "72", is_truncated=False)
    grade_answer(text, "72", is_truncated=True)
    grade_answer(f"#### {text}\n", r"\sqrt{2}", is_truncated=False)
    is_gradable(text)
    return time.process_time() - began


@pytest.mark.parametrize("parts", PARTS, ids=map(repr, PARTS))
def test_ten_times_the_text_takes_about_ten_times_as_long(parts: tuple[str, str, str]) -> None:
    short = min(seconds_to_grade(*parts, size=3_000) for _ in range(2))
    assert seconds_to_grade(*parts, size=30_000) < 30 * short + 0.3  # 100 times if quadratic


FRAGMENTS = [
    "\\boxed{", "{", "}", "\\{", "\\frac{", "1}{2}", "#### ", "####", "the answer is ", "final ",
    "\\text{", "\\,", "\\!", "\\", "$", "\\$", "-", "\u2212", "+", "1", "72", "1,234", ".", ",",
    "/", " ", "\n", "%", "^2", "**", "x", "k", " million", "e5", "=", "dollars", ":", "\ud800",
    "10^", "\u00bd", "\u00b2", "(", ")", "_2", "!", "\\sqrt", "a", "\\pi", "*", "or",
]  # fmt: skip
scrambled = st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join)
numbers = st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**9)).map(
    lambda value: f"{value:f}"
)


@pytest.fixture(scope="module")
def no_checker() -> object:
    """A checker that calls two formulas equal by a rule that sees no more than it is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checker, "check", lambda answer, gold: ("wrong", "correct")[
            sum(map(ord, answer + gold)) % 2
        ])  # fmt: skip
        yield


@pytest.mark.usefixtures("no_checker")
@given(text=st.text() | scrambled, gold=st.text() | scrambled, is_truncated=st.booleans())
def test_any_text_against_any_gold_has_a_verdict(text: str, gold: str, is_truncated: bool) -> None:
    grade = grade_answer(text, gold, is_truncated=is_truncated)
    assert (grade.answer is None) == (grade.verdict in ("no_answer", "truncated"))
    assert is_truncated or grade.verdict != "truncated"


@pytest.mark.usefixtures("no_checker")
@given(text=scrambled, gold=st.sampled_from(["72", "2x", "dollars"]))
def test_what_is_graded_though_it_was_cut_off_is_marked(text: str, gold: str) -> None:
    grade = grade_answer(text, gold, is_truncated=True)
    assert (grade.answer is not None) == has_marked_answer(text, is_truncated=True)


@given(text=scrambled, more=scrambled)
def test_an_answer_that_was_whole_when_a_text_was_cut_off_stays_one(text: str, more: str) -> None:
    was_marked = has_marked_answer(text, is_truncated=True)
    assert not was_marked or has_marked_answer(text + more, is_truncated=True)


@given(text=scrambled, first=st.integers(-100, 2000), second=st.integers(-100, 2000))
def test_a_text_is_never_right_for_two_different_golds(text: str, first: int, second: int) -> None:
    grades = [grade_answer(text, str(gold), is_truncated=False) for gold in (first, second)]
    assert first == second or [grade.verdict for grade in grades] != ["correct", "correct"]


@given(number=numbers)
@pytest.mark.parametrize(
    "text", ["{}", r"\boxed{{{}}}", "5\n#### {}", "The answer is {}.", "9 - 3 is $ {} ", "**{}** !"]
)
def test_a_number_is_right_wherever_it_is_written(text: str, number: str) -> None:
    assert grade_answer(text.format(number), number, is_truncated=False).verdict == "correct"


@given(top=st.integers(-(10**9), 10**9), bottom=st.integers(1, 10**9))
def test_fractions_are_compared_in_lowest_terms(top: int, bottom: int) -> None:
    text = rf"\boxed{{\frac{{{top}}}{{{bottom}}}}}"
    gold = str(Fraction(top, bottom))
    assert grade_answer(text, gold, is_truncated=False).verdict == "correct"


@given(word=st.text(st.characters(categories=["L"]), min_size=1))
def test_a_word_is_right_in_any_case_and_spacing(word: str) -> None:
    assert grade_answer(f"#### \t{word}  .", word, is_truncated=False).verdict == "correct"


@pytest.mark.usefixtures("no_checker")
@given(left=scrambled, right=scrambled, gold=st.sampled_from(["72", "2x", "\\sqrt{2}", "dollars"]))
def test_answers_that_are_alike_have_one_verdict(left: str, right: str, gold: str) -> None:
    if canonical(left) == canonical(right):
        assert judge(left, gold) == judge(right, gold)


WRITTEN = [
    ("72", ["72", " 72.", "72.0", "$72", "72%", "072", "+72", "72 eggs", "144/2", "**72**"]),
    ("1/2", ["0.5", ".50", r"\frac12", r"\dfrac{1}{2}", "2/4", "\u00bd", "5e-1"]),
    ("-5", ["-5", "\u22125", "- 5", "minus 5", "-$5", "x = -5", r"\frac{-10}{2}"]),
    ("100000", ["100,000", "1e5", "10^5", r"1 \times 10^{5}", "100k", "100 thousand"]),
    ("paris", ["Paris", " PARIS.", r"\text{Paris}", "**paris**"]),
    ("x^{2}+1", ["x^2 + 1", "x^{2}+1", "$x^2+1$", r"x^2+1\text{ cm}", "x**2+1"]),
    (r"\frac{1}{2}x", [r"\frac12x", r"\dfrac{1}{2} x", r"\( \frac 1 2 x \)"]),
]
LIKE = [(written, name) for name, ways in WRITTEN for written in ways]


@pytest.mark.parametrize(("answer", "name"), LIKE)
def test_ways_to_write_an_answer_are_alike(answer: str, name: str) -> None:
    assert canonical(answer) == name


@pytest.mark.parametrize("name", [name for name, _ in WRITTEN])
def test_what_is_alike_in_answers_is_alike_in_itself(name: str) -> None:
    assert canonical(name) == name


def test_answers_are_alike_only_if_they_agree() -> None:
    names = {canonical(answer) for answer, _ in LIKE}
    assert names == {name for name, _ in WRITTEN}


@given(number=numbers, unit=st.sampled_from(["", " eggs", "%", " cm"]))
def test_a_number_in_canonical_form_is_in_canonical_form(number: str, unit: str) -> None:
    assert canonical(number + unit) == str(Fraction(number))
    assert canonical(canonical(number + unit)) == canonical(number + unit)


def test_only_formulas_need_the_checker() -> None:
    golds = [name for name, _ in WRITTEN]
    assert [gold for gold in golds if needs_checker(gold)] == ["x^{2}+1", r"\frac{1}{2}x"]


@pytest.mark.parametrize(("left", "right"), [("2x", "x + x"), ("x + x", "2x")])
def test_the_checker_does_not_mind_which_side_is_the_gold(left: str, right: str) -> None:
    assert grade_answer(rf"\boxed{{{left}}}", right, is_truncated=False).verdict == "correct"
