"""The code for the remote side is sent without comments, and otherwise unchanged."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from execnet import gateway_base

from remoto import remote
from remoto.gateways import bootstrap, execnet_internals

TEXTS = {path.stem: remote.text(path.name) for path in sorted(Path(remote.__file__).parent.glob("[!_]*.py"))}
TEXTS["execnet"] = execnet_internals.remote_source()


def code_of(text):
    """Return the syntax tree of a source, with line numbers, without columns and docstrings."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        # a docstring may be all of a class or function
        for attribute in ("col_offset", "end_lineno", "end_col_offset"):
            if hasattr(node, attribute):
                setattr(node, attribute, None)
        body = getattr(node, "body", None)
        if _has_docstring(body):
            del body[0]
    return [ast.dump(node, include_attributes=True) for node in tree.body]


def _has_docstring(body):
    if not isinstance(body, list) or not body or not isinstance(body[0], ast.Expr):
        return False
    return isinstance(body[0].value, ast.Constant) and isinstance(body[0].value.value, str)


@pytest.mark.parametrize("name", TEXTS)
def test_code_without_comments_is_the_same(name):
    sent = remote.without_comments(TEXTS[name])
    assert code_of(sent) == code_of(TEXTS[name])
    assert len(sent) < len(TEXTS[name])


def test_comment_after_code_is_removed_and_string_is_kept():
    code = 'X = """\n # a line of a string\n"""\ny = "  # no comment"\nz = 1  # a reason\n'
    assert remote.without_comments(code).splitlines()[3:] == ['y = "  # no comment"', "z = 1"]


PROTOCOLS = {"WriteIO", "ReadIO", "IO", "Event"}
MODELS = {f"{name}ExecModel" for name in ("", "Thread", "MainThreadOnly", "Eventlet", "Gevent")}
REPLACED = {*MODELS, "Reply", "WorkerPool", "Popen2IO"}
UNUSED = {"dump", "dumps", "load", "loads", "serve", "get_execmodel", "init_popen_io"}
UNUSED_METHODS = {"serve", "_trace", "_initreceive", "join"}
TRACE = ("DEBUG = os.environ.get('EXECNET_DEBUG')", "pid = os.getpid()", "self.__trace = trace")
TRACING = re.compile(r"(?:self\.(?:gateway\.)?_trace|log)\(")


class WithoutUnused(ast.NodeTransformer):
    """Removes from execnet's source what is not sent."""

    def visit_ClassDef(self, node):
        if node.name in PROTOCOLS | REPLACED:
            return None
        node.body = [self.visit(item) for item in node.body if not _is_unused_method(item)]
        return node

    def visit_FunctionDef(self, node):
        # only at the top level: classes have methods of these names
        if node.name == "log" or (node.col_offset == 0 and node.name in UNUSED):
            return None
        self.generic_visit(node)
        node.returns = None
        return node

    def visit_If(self, node):
        if ast.unparse(node.test).startswith("DEBUG"):
            return None
        return self.generic_visit(node)

    def visit_Expr(self, node):
        return ast.Pass() if TRACING.match(ast.unparse(node)) else node

    def visit_Assign(self, node):
        return None if ast.unparse(node) in TRACE else node

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        return node if node.value is None else ast.Assign([node.target], node.value, lineno=node.lineno)

    def visit_ImportFrom(self, node):
        return None if node.module == "typing" else node


def _is_unused_method(node):
    if not isinstance(node, ast.FunctionDef):
        return False
    is_overload = any(getattr(decorator, "id", "") == "overload" for decorator in node.decorator_list)
    return is_overload or node.name in UNUSED_METHODS


def test_execnet_is_sent_without_unused_parts_and_otherwise_unchanged():
    whole = ast.parse(inspect.getsource(gateway_base))
    sent = ast.parse(execnet_internals.remote_source())
    # these replace imports
    sent.body = [node for node in sent.body if _name(node) not in ("traceback", "cast")]
    whole.body = [
        node for node in whole.body if not (isinstance(node, ast.Import) and node.names[0].name in ("abc", "traceback"))
    ]
    expected, found = (ast.unparse(WithoutUnused().visit(tree)).splitlines() for tree in (whole, sent))
    assert found == expected


def test_execnet_is_sent_with_its_line_numbers():
    def lines_of(source):
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
        return {(node.name, node.lineno) for node in nodes if node.name != "traceback"}

    assert lines_of(execnet_internals.remote_source()) < lines_of(inspect.getsource(gateway_base))


def _name(node):
    return node.targets[0].id if isinstance(node, ast.Assign) else getattr(node, "name", "")


def test_remote_python_starts_without_modules_that_take_long_to_import():
    source = execnet_internals.remote_source()
    started = f"import sys; exec({source!r}); print(*sorted(sys.modules))"
    # -S: a .pth file in site-packages may import anything
    found = subprocess.run([sys.executable, "-ISc", started], stdout=subprocess.PIPE, check=True, text=True)
    assert {"typing", "traceback", "re"}.isdisjoint(found.stdout.split())


def test_first_line_is_small():
    # 19,620 with execnet 2.1.2, 19,568 with 1.9; 60,743 bytes when all modules came along, with their comments
    assert len(bootstrap._first_line({}, "marker", "worker")) < 22_000
