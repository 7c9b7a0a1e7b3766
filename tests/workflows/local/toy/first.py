from toy.work import run

run("first")
