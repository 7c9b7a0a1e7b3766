from toy.work import run

run("plan")
