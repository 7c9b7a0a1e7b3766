from toy.work import run

run("report")
