"""PyTorch modules of the shipped architectures that torchvision does not have, with the names of launcher/models."""
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.models import vision_transformer


class Perceptron(nn.Module):
    def __init__(self, inputs=64, outputs=10):
        super().__init__()
        self.fc = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.fc(x.flatten(1))


class MLP(nn.Module):
    def __init__(self, inputs=784, hidden=512, outputs=10):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden), nn.Linear(hidden, outputs)

    def forward(self, x):
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


class LeNet5(nn.Module):
    def __init__(self, activation=torch.tanh, pool=F.avg_pool2d, outputs=10):
        super().__init__()
        self.activation, self.pool = activation, pool
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, outputs)

    def forward(self, x):
        x = self.pool(self.activation(self.conv1(x)), 2)
        x = self.pool(self.activation(self.conv2(x)), 2).flatten(1)
        return self.fc3(self.activation(self.fc2(self.activation(self.fc1(x)))))


class Basic(nn.Module):
    """He et al. 2016, figure 2, with a projection where the shape changes."""

    def __init__(self, before, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = nn.Sequential()
        if stride != 1 or before != width:
            self.downsample = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class CifarResNet(nn.Module):
    def __init__(self, widths=(16, 32, 64), depth=3, outputs=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before = widths[0]
        for i, width in enumerate(widths):
            blocks = [Basic(before if k == 0 else width, width, 2 if i and k == 0 else 1) for k in range(depth)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
            before = width
        self.stages = len(widths)
        self.fc = nn.Linear(before, outputs)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        for i in range(self.stages):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.fc(x.mean((2, 3)))


class Decoder(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)})

    def forward(self, x):
        y = self.ln_1(x)
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        x = x + self.attn(y, y, y, attn_mask=later, need_weights=False)[0]
        return x + self.mlp.c_proj(F.gelu(self.mlp.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    """Radford et al. 2019: pre-norm, learned positions, the output layer shares the embedding. Without dropout."""

    def __init__(self, vocabulary=256, context=128, width=128, heads=4, hidden=512, depth=4):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.h = nn.ModuleList(Decoder(width, heads, hidden) for _ in range(depth))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        for block in self.h:
            x = block(x)
        return self.lm_head(self.ln_f(x))


def vit_tiny(image_size=32, outputs=10):
    return vision_transformer.VisionTransformer(image_size=image_size, patch_size=4, num_layers=4, num_heads=4,
                                                hidden_dim=64, mlp_dim=128, num_classes=outputs)
