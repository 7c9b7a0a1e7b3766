from toy.work import run

run("second")
