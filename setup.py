import re
from pathlib import Path

import setuptools
from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(
    r'^__version__ = "([\d.]+)"$', (here / "remoto/__init__.py").read_text("utf-8"), re.MULTILINE
).group(1)

test = ["pytest>=7", "mock>=4", "pytest-timeout>=2", "pytest-xdist>=3", "hypothesis>=6", "websockets>=12", "rich>=12"]
docs = ["sphinx>=7", "furo", "matplotlib"]
lint = ["ruff==0.14.5", "mypy==1.18.2", "build>=1", "twine>=5", "towncrier>=24"]

# the newer field is an error to a setuptools that does not know it
licensed = "license_expression" if int(setuptools.__version__.split(".")[0]) >= 77 else "license"

setup(
    name="remoto",
    version=version,
    description="Run commands and Python functions on other machines and in containers, over execnet.",
    long_description=(here / "README.rst").read_text("utf-8"),
    long_description_content_type="text/x-rst",
    author="The remoto authors",
    maintainer="The remoto authors",
    url="http://github.com/alfredodeza/remoto",
    **{licensed: "MIT"},
    keywords="remote ssh commands execnet containers docker podman kubernetes openshift",
    packages=find_packages(include=["remoto", "remoto.*"]),
    package_data={"remoto": ["py.typed", "remote/*.sh"]},
    python_requires=">=3.9",
    install_requires=["execnet>=1.9,<3"],
    extras_require={"test": test, "docs": docs, "lint": lint, "progress": ["rich>=12"]},
    entry_points={"console_scripts": ["remoto = remoto.cli:main"]},
    zip_safe=True,
    classifiers=[
        "Development Status :: 5 - Production/Stable",
        "Intended Audience :: Developers",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.9",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Systems Administration",
        "Typing :: Typed",
    ],
)
