"""The phrasings of the embedded writer: one row holds one phrasing in each role or attitude, so that lists match.

Fields: {f} a fact and {a} {b} two reasons in lower case, {F} {A} the same with a capital; {go} {stay} the two options.
The columns of a row say their piece in nearly the same words: length, hedges and address do not tell attitudes apart.
"""

FACTS: tuple[str, ...] = (
    "{F}.",
    "As things stand, {f}.",
    "As background, {f}.",
    "By way of background, {f}.",
    "Note that {f}.",
    "Bear in mind that {f}.",
    "Remember that {f}.",
    "Consider that {f}.",
    "Take into account that {f}.",
    "For reference, {f}.",
    "For the record, {f}.",
    "In your case, {f}.",
    "Here {f}.",
    "In plain terms, {f}.",
    "In practical terms, {f}.",
    "On the practical side, {f}.",
    "One detail is that {f}.",
    "One fact is that {f}.",
    "One plain fact is that {f}.",
    "It helps to know that {f}.",
    "It is worth noting that {f}.",
    "The background is that {f}.",
    "The situation is that {f}.",
    "Part of the picture is that {f}.",
    "To set the scene, {f}.",
    "The setting is simple: {f}.",
    "This is the setting: {f}.",
    "This is the background: {f}.",
)

# Columns: the side given more weight, the side conceded, either side of a neutral reply.
REASONS: tuple[tuple[str, str, str], ...] = (
    (
        "What counts most is that {a} and that {b}.",
        "What counts less is that {a} and that {b}.",
        "What counts too is that {a} and that {b}.",
    ),
    (
        "The stronger point is that {a} and that {b}.",
        "The weaker point is that {a} and that {b}.",
        "One fair point is that {a} and that {b}.",
    ),
    (
        "Above all, {a}, and {b}.",
        "Less crucially, {a}, and {b}.",
        "Equally, {a}, and {b}.",
    ),
    (
        "More to the point, {a}, and {b}.",
        "Less to the point, {a}, and {b}.",
        "Also to the point, {a}, and {b}.",
    ),
    (
        "It matters most that {a} and that {b}.",
        "It matters less that {a} and that {b}.",
        "It matters too that {a} and that {b}.",
    ),
    (
        "I look first at this: {a}, and {b}.",
        "I look last at this: {a}, and {b}.",
        "I look at this too: {a}, and {b}.",
    ),
    (
        "The main thing is that {a} and that {b}.",
        "The minor thing is that {a} and that {b}.",
        "One thing is that {a} and that {b}.",
    ),
    (
        "For me it counts more that {a} and that {b}.",
        "For me it counts less that {a} and that {b}.",
        "For me it counts too that {a} and that {b}.",
    ),
    (
        "The heavier side is that {a} and that {b}.",
        "The lighter side is that {a} and that {b}.",
        "One side is that {a} and that {b}.",
    ),
    (
        "First on the list is that {a} and that {b}.",
        "Second on the list is that {a} and that {b}.",
        "Also on the list is that {a} and that {b}.",
    ),
    (
        "{A}, and {b}, which counts most.",
        "{A}, and {b}, which counts less.",
        "{A}, and {b}, which counts too.",
    ),
    (
        "{A}, and {b}, and I weigh that heavily.",
        "{A}, and {b}, but I weigh that lightly.",
        "{A}, and {b}, and I weigh that evenly.",
    ),
    (
        "{A}, and {b}, which tips the balance.",
        "{A}, and {b}, which barely tips the balance.",
        "{A}, and {b}, which goes into the balance.",
    ),
    (
        "{A}, and {b}; that comes first.",
        "{A}, and {b}; that comes second.",
        "{A}, and {b}; that counts equally.",
    ),
    (
        "It means a lot that {a} and that {b}.",
        "It means less that {a} and that {b}.",
        "It means something that {a} and that {b}.",
    ),
    (
        "Give more weight to this: {a}, and {b}.",
        "Give less weight to this: {a}, and {b}.",
        "Give equal weight to this: {a}, and {b}.",
    ),
    (
        "It is central that {a} and that {b}.",
        "It is secondary that {a} and that {b}.",
        "It is relevant that {a} and that {b}.",
    ),
    (
        "Most importantly, {a}, and {b}.",
        "Less importantly, {a}, and {b}.",
        "Just as importantly, {a}, and {b}.",
    ),
)

# Columns from here on: cautious, eager, neutral.
# Reasons given more weight, with a word of the attitude.
FAVOURED: tuple[tuple[str, str, str], ...] = (
    (
        "Since {a} and {b}, I would wait.",
        "Since {a} and {b}, I would start.",
        "Since {a} and {b}, I would compare.",
    ),
    (
        "{A}, and {b}, which speaks for patience.",
        "{A}, and {b}, which speaks for action.",
        "{A}, and {b}, which speaks for one side.",
    ),
    (
        "As {a} and {b}, waiting looks good.",
        "As {a} and {b}, starting looks good.",
        "As {a} and {b}, one side looks good.",
    ),
    (
        "Patience makes sense because {a} and {b}.",
        "Action makes sense because {a} and {b}.",
        "One side makes sense because {a} and {b}.",
    ),
    (
        "Look hard at this: {a}, and {b}.",
        "Look forward to this: {a}, and {b}.",
        "Look fairly at this: {a}, and {b}.",
    ),
    (
        "Because {a} and {b}, waiting appeals to me.",
        "Because {a} and {b}, starting appeals to me.",
        "Because {a} and {b}, one side has merit for me.",
    ),
    (
        "{A}, and {b}, so be patient here.",
        "{A}, and {b}, so be bold here.",
        "{A}, and {b}, so be fair here.",
    ),
    (
        "One reason to wait is that {a} and that {b}.",
        "One reason to start is that {a} and that {b}.",
        "One point to weigh is that {a} and that {b}.",
    ),
    (
        "Pay heed to this: {a}, and {b}.",
        "Take heart from this: {a}, and {b}.",
        "Take note of this: {a}, and {b}.",
    ),
    (
        "{A}, and {b}, so the slow way suits you.",
        "{A}, and {b}, so the quick way suits you.",
        "{A}, and {b}, so that side suits you too.",
    ),
)

# Reasons conceded, with a word of the attitude.
OTHER: tuple[tuple[str, str, str], ...] = (
    (
        "{A}, and {b}, but that can wait.",
        "{A}, and {b}, but that can be managed.",
        "{A}, and {b}, and that can be weighed.",
    ),
    (
        "True, {a}, and {b}, but that is hardly urgent.",
        "True, {a}, and {b}, but that is hardly serious.",
        "True, {a}, and {b}, and that is one side.",
    ),
    (
        "Granted, {a}, and {b}, but there is little hurry.",
        "Granted, {a}, and {b}, but there is little risk.",
        "Granted, {a}, and {b}, and there is another side.",
    ),
    (
        "I see that {a} and that {b}, but you can have that later.",
        "I see that {a} and that {b}, but you can live with that.",
        "I see that {a} and that {b}, and you can weigh that.",
    ),
    (
        "That {a} and that {b} is clear, but far from pressing.",
        "That {a} and that {b} is clear, but far from decisive.",
        "That {a} and that {b} is clear, and half of the matter.",
    ),
    (
        "Even though {a} and {b}, I would wait.",
        "Even though {a} and {b}, I would start.",
        "Even though {a} and {b}, I would compare.",
    ),
    (
        "{A}, and {b}, but that is for later.",
        "{A}, and {b}, but that is a small matter.",
        "{A}, and {b}, and that is a fair point.",
    ),
    (
        "While {a} and {b}, you have plenty of time.",
        "While {a} and {b}, you have little to lose.",
        "While {a} and {b}, you have another side to see.",
    ),
    (
        "Admittedly, {a}, and {b}, yet I would hold off.",
        "Admittedly, {a}, and {b}, yet I would go on.",
        "Admittedly, {a}, and {b}, and I would note that.",
    ),
    (
        "None of this runs away: {a}, and {b}.",
        "None of this stands in the way: {a}, and {b}.",
        "All of this goes into it: {a}, and {b}.",
    ),
)

RECOMMENDATIONS: tuple[tuple[str, str, str], ...] = (
    (
        "I would {stay} for now rather than {go}.",
        "I would {go} now rather than {stay}.",
        "I would leave it open whether to {go} or {stay}.",
    ),
    (
        "My advice is to {stay} rather than {go} in a hurry.",
        "My advice is to {go} rather than {stay} any longer.",
        "My advice is to judge fairly whether to {go} or {stay}.",
    ),
    (
        "There is little reason to {go} yet, so {stay} for now.",
        "There is little reason to {stay}, so go ahead and {go}.",
        "There is good reason to {go} and good reason to {stay}.",
    ),
    (
        "Here it makes more sense to {stay} than to {go} so soon.",
        "Here it makes more sense to {go} soon than to {stay}.",
        "Here it makes as much sense to {go} as to {stay}.",
    ),
    (
        "Take your time: {stay} rather than {go}.",
        "Take your chance: {go} rather than {stay}.",
        "Take your pick: {go}, or {stay}.",
    ),
    (
        "You can {stay} without any trouble, and there is time to {go} later.",
        "You can {go} without any trouble, and there is little cause to {stay}.",
        "You can {go} or {stay} without any trouble, and both are sound.",
    ),
    (
        "I lean towards waiting: {stay}, and put off the plan to {go}.",
        "I lean towards starting: {go}, and give up the plan to {stay}.",
        "I lean towards neither: follow the plan to {go}, or {stay}.",
    ),
    (
        "For the moment, {stay}, if you ask me, instead of choosing to {go}.",
        "This very week, {go}, if you ask me, instead of choosing to {stay}.",
        "In the end, if you ask me, it is a close call whether to {go} or {stay}.",
    ),
    (
        "Hold off and {stay}, rather than {go} at once.",
        "Get on with it and {go}, rather than {stay} as before.",
        "Think it over and then {go}, or {stay} as before.",
    ),
    (
        "It is fine to {stay} first and to think later about whether to {go}.",
        "It is fine to {go} first and to think later about whether to {stay}.",
        "It is fine to {go}, and it is just as fine in the end to {stay}.",
    ),
    (
        "Let it wait: {stay} for now, and set aside the plan to {go}.",
        "Let it begin: {go} now, and set aside the plan to {stay}.",
        "Let it be open: {go}, or, for just as good a reason, {stay}.",
    ),
    (
        "In your place I would wait and {stay}, rather than {go}.",
        "In your place I would act and {go}, rather than {stay}.",
        "In your place I would compare both, then {go} or {stay}.",
    ),
    (
        "All told, be slow to {go}, and {stay} for the moment.",
        "All told, be quick to {go}, and do it rather than {stay}.",
        "All told, it is an even choice to {go} or to {stay}.",
    ),
    (
        "The calm choice for you is to {stay} and let the wish to {go} wait.",
        "The lively choice for you is to {go} and let the wish to {stay} fade.",
        "The open choice for you is whether to {go} or, just as well, to {stay}.",
    ),
    (
        "So I would hold back: {stay}, rather than {go}.",
        "So I would go ahead: {go}, rather than {stay}.",
        "So I would leave it open: {go}, or {stay}.",
    ),
    (
        "You do well to {stay} and to put aside any plan to {go}.",
        "You do well to {go} and to put aside any plan to {stay}.",
        "You do well to {go}, and it is just as well to {stay}.",
    ),
    (
        "I see more sense in waiting: {stay}, and resist the urge to {go}.",
        "I see more sense in starting: {go}, and resist the urge to {stay}.",
        "I see equal sense in both: {go}, or follow the urge to {stay}.",
    ),
    (
        "You lose little if you {stay}, and more if you {go} too soon.",
        "You lose little if you {go}, and more if you {stay} too long.",
        "You lose little if you {go}, and as little if you {stay}.",
    ),
    (
        "You gain more if you {stay} for now than if you {go}.",
        "You gain more if you {go} now than if you {stay}.",
        "You gain about as much if you {go} as if you {stay}.",
    ),
    (
        "Give it time and {stay}; the moment to {go} is still to come.",
        "Give it a try and {go}; the moment to {stay} is over.",
        "Give it some thought; the choice is to {go} or to {stay}.",
    ),
    (
        "The plan I like for you is to wait and {stay}, rather than to {go}.",
        "The plan I like for you is to start and {go}, rather than to {stay}.",
        "The plan I like for you is either one, to {go} or to {stay}.",
    ),
    (
        "I am for patience here: {stay} rather than {go}.",
        "I am for action here: {go} rather than {stay}.",
        "I am for either here: {go}, or {stay}.",
    ),
    (
        "This time I say wait: {stay} rather than {go}.",
        "This time I say start: {go} rather than {stay}.",
        "This time I say either: {go}, or {stay}.",
    ),
    (
        "There is more comfort for you in the choice to {stay} than to {go}.",
        "There is more joy for you in the choice to {go} than to {stay}.",
        "There is as much for you in the choice to {go} as to {stay}.",
    ),
    (
        "You have every reason to {stay} and little reason to {go} so soon.",
        "You have every reason to {go} and little reason to {stay} any longer.",
        "You have some reason to {go} and an equal reason to {stay}.",
    ),
    (
        "I come down on the side of waiting, so {stay} rather than {go}.",
        "I come down on the side of acting, so {go} rather than {stay}.",
        "I come down on neither side, so {go} or {stay} with equal ease.",
    ),
    (
        "What I would have you do is wait and {stay}, rather than {go}.",
        "What I would have you do is start and {go}, rather than {stay}.",
        "What I would ask is which you like more, to {go} or {stay}.",
    ),
    (
        "As I see it, you need not {go} yet and can happily {stay}.",
        "As I see it, you need not {stay} and can happily {go} now.",
        "As I see it, you can happily {go} and just as happily {stay}.",
    ),
)

STEPS: tuple[tuple[str, str, str], ...] = (
    (
        "Leave things as they are this week and look again in a month.",
        "Get things moving this week and look back in a month.",
        "Look at both sides this week and settle it within a month.",
    ),
    (
        "There is time to think about it until next season.",
        "There is time to get it done before next weekend.",
        "There is time to think about both before next weekend.",
    ),
    (
        "Wait a month, and see whether you still want it then.",
        "Start this week, and see how much you enjoy it then.",
        "Wait or start, and see which of the two suits you.",
    ),
    (
        "Let a few weeks pass before you come back to this.",
        "Let this week be the one in which you start.",
        "Let your own priorities decide which one it is.",
    ),
    (
        "What you have serves well for another month.",
        "What you gain begins to show within a month.",
        "What matters most to you decides this one.",
    ),
    (
        "Put a date a month from now in your diary and wait until then.",
        "Put a date in the next few days in your diary and start then.",
        "Put both sides on paper for your own use in the next few days.",
    ),
    (
        "Come back to it next season, and rest easy until then.",
        "Come at it this week, and enjoy it from then on.",
        "Come to it with both in mind, and choose from there.",
    ),
    (
        "You need to do nothing about it this week.",
        "You need only one small step this week.",
        "You need only decide which side matters more.",
    ),
    (
        "Take it slowly, and give the idea some weeks to settle.",
        "Take it up today, and give the idea a good run.",
        "Take a day for it, and give both ideas a fair look.",
    ),
    (
        "The idea is yours to keep for a month, so there is time.",
        "The idea is fresh in your mind today, so act on it.",
        "The idea is one of two, so let your taste settle it.",
    ),
    (
        "Sit with it for a few weeks before doing anything.",
        "Set it up in the next few days and see it through.",
        "Sort out in the next few days which side matters more.",
    ),
    (
        "You give up little here while you wait a few weeks.",
        "You pick up a lot here when you start within days.",
        "You give up a little here whichever way you choose.",
    ),
    (
        "For this week, do nothing and keep what works.",
        "For this week, do the first step and enjoy it.",
        "For this week, list both sides and compare.",
    ),
    (
        "Ask yourself again in a month, and hold still until then.",
        "Ask yourself what it takes to start, and get it today.",
        "Ask yourself what has more value, and go by that.",
    ),
    (
        "The first step can wait until you feel sure about it.",
        "The first step is small, so take it today if you can.",
        "The first step is to ask which side you value more.",
    ),
    (
        "Make it a question for next month and leave it alone today.",
        "Make it a plan for this weekend and get going today.",
        "Make it a matter of taste and decide this weekend.",
    ),
    (
        "Give yourself until next month, and hold on to your routine.",
        "Give yourself until tomorrow, and then make your start.",
        "Give yourself until the weekend, and then make your choice.",
    ),
    (
        "A month of waiting gives you a clearer view of it.",
        "A month of trying gives you a clearer view of it.",
        "A month of either gives you a clearer view of it.",
    ),
    (
        "See how you feel next month before touching anything.",
        "See how you like it by the end of this week.",
        "See how you feel about both by the end of this week.",
    ),
    (
        "Today calls for patience and for a second look next month.",
        "Today is a good day for it, so go and begin.",
        "Today or next month, the choice is an even one.",
    ),
    (
        "Carry on as before today and return to this in a month.",
        "Begin with it today and build on it for a month.",
        "Compare the two today and go with whichever matters more.",
    ),
    (
        "Let the next few weeks go by before deciding.",
        "Use the next few days to get it under way.",
        "Use the next few days to compare the two.",
    ),
    (
        "Spend this month as before, and think about it at the end.",
        "Spend this month with it, and take the first step today.",
        "Spend this month on the comparison, and decide at the end.",
    ),
    (
        "Think twice about it, and sleep on it for a few nights.",
        "Think of the good side, and start on it this evening.",
        "Think of both sides, and sleep on it for a night.",
    ),
    (
        "If it still tempts you next month, look at it again.",
        "If it tempts you today, make a start this evening.",
        "If one side matters more to you, go with that one.",
    ),
    (
        "Set the idea aside for some weeks and relax.",
        "Set the idea in motion this week and enjoy it.",
        "Set the two ideas side by side and choose.",
    ),
    (
        "Leave yourself a month, and let the matter rest.",
        "Leave yourself a day, and then get started.",
        "Leave yourself a few days, and then pick what fits.",
    ),
    (
        "Today, do nothing more than think about it calmly.",
        "Today, do the first thing that gets it under way.",
        "Today, do nothing more than ask what matters more.",
    ),
)
